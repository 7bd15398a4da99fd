"""Writes the model that separation takes: `python -m training.voices.export --help`.

The model is measured on the split `test` of the speech; the results are in its description.
"""

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from schemas.errors import UserError
from schemas.voice_configuration import VoiceConfiguration, parse_voice_configuration
from schemas.voice_model import SAVED_MODEL, VOICES, Provenance, VoiceModel
from training.errors import FILE_ERRORS
from training.export import current_commit
from training.voices.evaluate import evaluate, format_trials
from training.voices.network import MIN_DURATION_S, build_network, embed
from training.voices.speech import open_speech
from training.voices.train import CONFIGURATION, restore_network


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m training.voices.export", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--model_dir", required=True, type=Path, help="of a trained model")
    parser.add_argument("--speech", required=True, type=Path, help="that it was trained on")
    parser.add_argument("--output", required=True, type=Path, help="the folder that is made")
    options = parser.parse_args(arguments)
    try:
        export(options.model_dir, options.speech, options.output)
    except (UserError, *FILE_ERRORS) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def export(model_dir: Path, speech: Path, output: Path) -> VoiceModel:
    """Writes the voice model of the last checkpoint in a folder; `voices.json` last.

    Args:
        model_dir: the folder.
        speech: packed, with the split `test` that the model is measured on.
        output: the voice model.

    Raises:
        UserError: there is no trained model, or no speech.
        FileExistsError: the output holds a voice model already.
    """
    if (output / VOICES).exists():
        raise FileExistsError(f"{output}: holds a voice model already; choose another --output")
    try:
        text = (model_dir / CONFIGURATION).read_text("utf-8")
    except FileNotFoundError:
        raise UserError(f"{model_dir}: no {CONFIGURATION} in it: train first") from None
    configuration = parse_voice_configuration(text, str(model_dir / CONFIGURATION))
    network = build_network(configuration)
    steps = restore_network(network, model_dir)
    packed = open_speech(speech)
    module = _module(network, configuration)
    trials = evaluate(
        lambda waveform: module.embed(tf.constant(waveform))["embedding"].numpy(), packed, "test"
    )
    print(format_trials(trials))
    tf.saved_model.save(module, str(output / SAVED_MODEL), signatures=module.embed)
    model = VoiceModel(
        name=output.name,
        sample_rate=configuration.sample_rate,
        dimension=configuration.dimension,
        min_duration_s=MIN_DURATION_S,
        configuration=configuration.document,
        metrics={f"{one.dataset}, {one.kind}, {one.pairs}": one.equal_error_rate for one in trials},
        provenance=Provenance(
            dataset_fingerprint=" ".join(sorted({one.fingerprint for one in packed})),
            commit=current_commit(),
            steps=steps,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        ),
    )
    (output / VOICES).write_text(model.to_json(), "utf-8")
    return model


def _module(network: tf.keras.Model, configuration: VoiceConfiguration) -> tf.Module:
    module = tf.Module()
    module.network_variables = network.variables
    module.embed = tf.function(
        lambda waveform: {"embedding": embed(network, waveform, configuration)},
        input_signature=[tf.TensorSpec([None, None], tf.float32, "waveform")],
        autograph=False,
    )
    return module


if __name__ == "__main__":
    sys.exit(main())
