"""Writing the voice model that separation takes, with what it measures."""

import datetime
from pathlib import Path

import tensorflow as tf

from schemas.errors import UserError
from schemas.voice_configuration import VoiceConfiguration, parse_voice_configuration
from schemas.voice_model import SAVED_MODEL, VOICES, Provenance, VoiceModel
from training.bundle_export import current_commit
from training.local_files import write_text
from training.output_folder import make_folder
from training.saved_models import save_model
from training.voices.network import MIN_DURATION_S, build_network, embed
from training.voices.packed_speech import open_speech
from training.voices.training_loop import CONFIGURATION, restore_network
from training.voices.trials import evaluate, format_trials
from training.voices.whitening import Whitening, find_whitening


def export(model_dir: Path, speech: Path, output: Path) -> VoiceModel:
    """Writes the voice model of the last checkpoint in a folder; `voices.json` last.

    Args:
        model_dir: the folder.
        speech: packed, with the split `test` that the model is measured on.
        output: the voice model.

    Raises:
        UserError: there is no trained model, or not enough speech.
        FileExistsError: the output holds a voice model already.
        OutputFolderError: the output holds something else, or can't be written.
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
    # An export that was killed has left a part of it.
    make_folder(str(output), own_names=(SAVED_MODEL,), option="--output")
    whitening = find_whitening(
        lambda waveform: embed(network, waveform, configuration).numpy(), packed
    )
    module = _module(network, configuration, whitening)
    trials = evaluate(
        lambda waveform: module.embed(tf.constant(waveform))["embedding"].numpy(), packed, "test"
    )
    print(format_trials(trials))
    save_model(module, module.embed, output / SAVED_MODEL)
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
    write_text(output / VOICES, model.to_json())
    return model


def _module(
    network: tf.keras.Model, configuration: VoiceConfiguration, whitening: Whitening
) -> tf.Module:
    def embed_whitened(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        embeddings = embed(network, waveform, configuration) - whitening.mean
        return {"embedding": tf.math.l2_normalize(embeddings @ whitening.transform, axis=-1)}

    module = tf.Module()
    module.network_variables = network.variables
    module.embed = tf.function(
        embed_whitened,
        input_signature=[tf.TensorSpec([None, None], tf.float32, "waveform")],
        autograph=False,
    )
    return module
