"""Making a bundle of a trained model, and reading the weights of one."""

import datetime
import itertools
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from schemas.bundle import (
    BUNDLE,
    NETWORK_KEYS,
    SAVED_MODEL,
    Bundle,
    Provenance,
    parse_bundle,
)
from schemas.configuration import Configuration
from schemas.errors import UserError
from training.architectures import build_network
from training.model_dir import ModelDir, describe_training
from training.output_folder import make_folder
from training.saved_models import cannot_be_written
from training.separator import Separator

_SPLEETER = "spleeter"
_STEREO = 2
_MAX_CONTEXT_S = 0.5


class BundleError(UserError):
    """A bundle can't be made, or training can't go on from it; the message says why."""


def export(model_dir: str, output: str, *, window_s: float | None = None) -> Bundle:
    """Writes the bundle of the best model in a folder; `bundle.json` last.

    Args:
        model_dir: the folder.
        output: the bundle.
        window_s: seconds of a recording that it separates at once; None for as many as in
            training.

    Raises:
        ModelDirError: there is no trained model.
        FileExistsError: the output holds a bundle already.
        OutputFolderError: the output holds something else, or can't be made.
        BundleError: the network can't separate windows of another length than in training.
    """
    output = output.rstrip("/")
    if tf.io.gfile.exists(f"{output}/{BUNDLE}"):
        raise FileExistsError(f"{output}: holds a bundle already; choose another --output")
    folder = ModelDir(model_dir)
    configuration, separator = folder.load_best()
    metrics = folder.read_metrics()
    window_s = _window_s(configuration, window_s)
    # An export that was killed has left a part of it.
    make_folder(output, own_names=(SAVED_MODEL, _SPLEETER), option="--output")
    try:
        _write_saved_model(configuration, separator, f"{output}/{SAVED_MODEL}")
    except (OSError, tf.errors.OpError) as error:
        raise cannot_be_written(output, error) from None
    if configuration.model_type.startswith("unet.") and configuration.n_channels == _STEREO:
        _write_spleeter_model(configuration, separator, metrics.steps, f"{output}/{_SPLEETER}")
    bundle = Bundle(
        name=PurePosixPath(output).name,
        sample_rate=configuration.sample_rate,
        num_channels=configuration.n_channels,
        num_sources=configuration.num_sources,
        source_names=configuration.instrument_list,
        aligned=not configuration.is_joint,
        architecture=configuration.model_type,
        window_s=window_s,
        # At the edge of a window, half of the context that the network relies on is missing.
        context_s=min(window_s / 8, _MAX_CONTEXT_S),
        configuration={
            key: value for key, value in configuration.document.items() if key in NETWORK_KEYS
        },
        metrics={
            "validation_loss": metrics.validation_loss,
            "validation_si_sdri_db": metrics.validation_si_sdri_db,
        },
        provenance=Provenance(
            dataset_fingerprint=metrics.dataset_fingerprint,
            commit=current_commit(),
            steps=metrics.steps,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            training=metrics.training or describe_training(configuration, metrics.steps),
        ),
    )
    with tf.io.gfile.GFile(f"{output}/{BUNDLE}", "w") as file:
        file.write(bundle.to_json())
    return bundle


def _window_s(configuration: Configuration, asked_s: float | None) -> float:
    # For a network with a fixed T, one run of it.
    trained_s = (
        configuration.T * configuration.frame_step - configuration.frame_length
    ) / configuration.sample_rate
    if asked_s is None:
        return trained_s
    if not configuration.is_joint:
        raise BundleError(
            f"--window_s={asked_s:g}: {configuration.model_type} separates {trained_s:g} s at once"
            f" (T {configuration.T}), and nothing else"
        )
    if not asked_s > 0:
        raise BundleError(f"--window_s={asked_s:g}: must be more than 0")
    return asked_s


def read_weights(bundle: str, configuration: Configuration) -> list[npt.NDArray[np.float32]]:
    """Returns the weights in a bundle, in the order of the network's variables.

    Raises:
        NotFoundError: there is no bundle.
        InvalidDocumentError: its description can't be read.
        BundleError: its network is not the one of the configuration.
    """
    path = f"{bundle.rstrip('/')}/{BUNDLE}"
    with tf.io.gfile.GFile(path) as file:
        trained = parse_bundle(file.read(), path).configuration
    for key in ("model", "sample_rate", "n_channels", "instrument_list"):
        if trained[key] != configuration.document[key]:
            raise BundleError(
                f"{bundle}: {key} is {json.dumps(trained[key])} there and "
                f"{json.dumps(configuration.document[key])} in the configuration"
            )
    reader = tf.train.load_checkpoint(f"{bundle.rstrip('/')}/{SAVED_MODEL}/variables/variables")
    names = (f"network_variables/{n}/.ATTRIBUTES/VARIABLE_VALUE" for n in itertools.count())
    return [reader.get_tensor(name) for name in itertools.takewhile(reader.has_tensor, names)]


def _write_saved_model(configuration: Configuration, separator: Separator, path: str) -> None:
    waveform = tf.TensorSpec([None, None, configuration.n_channels], tf.float32, "waveform")
    module = tf.Module()
    module.network_variables = separator.network.variables
    module.separate = tf.function(
        lambda waveform: {"sources": separator.separate(waveform)}, input_signature=[waveform]
    )
    tf.saved_model.save(module, path, signatures=module.separate)


def _write_spleeter_model(
    configuration: Configuration, separator: Separator, steps: int, path: str
) -> None:
    """Writes a checkpoint as Spleeter's own estimator would have done, and its configuration."""
    variables: dict[str, tf.Variable] = {}

    def remember(next_creator: Callable[..., tf.Variable], **arguments: object) -> tf.Variable:
        variable = next_creator(**arguments)
        variables[variable.name.removesuffix(":0")] = variable
        return variable

    # Spleeter expects some variables that no output depends on, and which are therefore not part of
    # the model; building the network anew creates them too.
    with tf.variable_creator_scope(remember):
        build_network(configuration)
    for variable in separator.network.variables:
        variables[variable.name.removesuffix(":0")].assign(variable)
    variables["global_step"] = tf.Variable(steps, dtype=tf.int64)
    tf.compat.v1.train.Saver(variables).save(None, f"{path}/model", global_step=steps)
    # Spleeter takes a relative folder for one beside its pretrained models.
    model_dir = path if "://" in path else os.path.abspath(path)
    with tf.io.gfile.GFile(f"{path}/config.json", "w") as file:
        file.write(json.dumps(configuration.document | {"model_dir": model_dir}, indent=1) + "\n")


def current_commit() -> str:
    """Returns the commit of this project, empty outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
