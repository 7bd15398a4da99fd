"""Descriptions of models: this project's bundles, and Spleeter's configurations and checkpoints.

They are read without TensorFlow, before a job runs; `separator` loads the models themselves.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
import posixpath
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_jobs.runtime.extras import require_installed
from beam_jobs.separation.windows import Framing, crossfade_framing, spleeter_framing
from beam_jobs.storage import files
from beam_jobs.storage.text import read_text
from schemas.bundle import BUNDLE, SAVED_MODEL, UPPER_BAND, Bundle, UpperBand, parse_bundle
from schemas.errors import UserError

DEFAULT_MODEL = str(Path(__file__).parents[1] / "models/default")
VOICE_MODEL = str(Path(__file__).parents[1] / "models/voices")
"""The folder of the voice model that all joint models share."""

_STOCK_PREFIX = "spleeter:"
_CHECKPOINT = "checkpoint"
# In a folder that `training.train` leaves.
_TRAINING = "configuration.json"


class ModelError(UserError):
    """`--model` does not name a usable model; the message says what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """The description of a model, known before it is loaded.

    Attributes:
        name: for people.
        folder: the folder of its files.
        file_names: its files, relative to the folder.
        fingerprint: a digest of everything that its outputs depend on, in hexadecimal.
        sample_rate: in Hz.
        num_channels: of its input and of each output.
        source_names: the names of its outputs, in order.
        aligned: whether an output is the same source in every window; if not, outputs may swap.
        framing: the windows that it takes.
        upper_band: describes the network that shares what is above its band; None without one.
        spleeter: Spleeter's configuration; empty for a bundle.
        checkpoint: the prefix of the checkpoint's files in the folder; empty for a bundle.
    """

    name: str
    folder: str
    file_names: tuple[str, ...]
    fingerprint: str
    sample_rate: int
    num_channels: int
    source_names: tuple[str, ...]
    aligned: bool
    framing: Framing
    upper_band: UpperBand | None
    spleeter: Mapping[str, Any]
    checkpoint: str


def describe_model(descriptor: str) -> Model:
    """Finds a model and reads its description.

    Args:
        descriptor: one of
            - the folder of a bundle;
            - the folder of a checkpoint of one of Spleeter's stock models, which has the model's
              name, such as `pretrained_models/2stems`;
            - `spleeter:` and the name of a stock model, whose checkpoint is where Spleeter looks
              for it, under `MODEL_PATH`;
            - the file of a Spleeter configuration (.json), whose `model_dir` is the folder of the
              checkpoint.

    Raises:
        ModelError: there is no model, or an incomplete one.
        UserError: Spleeter is needed and not installed.
        InvalidDocumentError: the description of a bundle does not follow its schema.
    """
    descriptor = files.expand(descriptor)
    if descriptor.startswith(_STOCK_PREFIX):
        configuration = _stock_configuration(descriptor.removeprefix(_STOCK_PREFIX))
        return _describe_spleeter(descriptor, configuration, _model_folder(configuration))
    if descriptor.endswith(".json"):
        configuration = _read_configuration(descriptor)
        return _describe_spleeter(descriptor, configuration, _model_folder(configuration))
    if files.exists(files.join(descriptor, BUNDLE)):
        return _describe_bundle(descriptor)
    if files.exists(files.join(descriptor, _TRAINING)):
        raise ModelError(
            f"{descriptor}: the folder of a training, and not yet a bundle: python -m"
            f" training.export --model_dir {descriptor} --output BUNDLE makes one"
        )
    if files.exists(files.join(descriptor, _CHECKPOINT)):
        configuration = _stock_configuration(posixpath.basename(descriptor.rstrip("/")))
        return _describe_spleeter(descriptor, configuration, descriptor)
    raise ModelError(
        f"{descriptor}: not a model: neither {BUNDLE} nor {_CHECKPOINT} is in it. Give a bundle's "
        "folder, a Spleeter configuration (.json), or spleeter:2stems"
    )


def copy_model(model: Model, folder: str) -> None:
    """Copies the files of a model to a local folder."""
    for name in model.file_names:
        local = os.path.join(folder, name)
        os.makedirs(os.path.dirname(local), exist_ok=True)
        with files.open_file(files.join(model.folder, name)) as source, open(local, "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 22)


def _describe_bundle(folder: str) -> Model:
    path = files.join(folder, BUNDLE)
    text = files.read_text(path)
    bundle = parse_bundle(text, path)
    names = _list_names(folder, f"{SAVED_MODEL}/**")
    if bundle.upper_band is not None:
        names += _list_names(folder, f"{UPPER_BAND}/**")
    for part in (SAVED_MODEL,) if bundle.upper_band is None else (SAVED_MODEL, UPPER_BAND):
        if f"{part}/saved_model.pb" not in names:
            raise ModelError(f"{folder}: {part}/saved_model.pb is missing: export it again")
    return Model(
        name=bundle.name,
        folder=folder,
        file_names=names,
        fingerprint=_fingerprint(_describe_outputs(text, bundle), folder, names),
        sample_rate=bundle.sample_rate,
        num_channels=bundle.num_channels,
        source_names=bundle.source_names,
        aligned=bundle.aligned,
        framing=crossfade_framing(
            round(bundle.window_s * bundle.sample_rate),
            round(bundle.context_s * bundle.sample_rate),
            aligned=bundle.aligned,
        ),
        upper_band=bundle.upper_band,
        spleeter={},
        checkpoint="",
    )


def _describe_outputs(text: str, bundle: Bundle) -> str:
    """Returns what the outputs of a bundle depend on besides its SavedModel.

    The rest of the description may be edited without separating whole archives again. For version
    1 it is all of the text, as in the ledgers of archives that such a bundle has separated. Where
    outputs may swap, it is also the voice model that gives them to the speakers.
    """
    voices = "" if bundle.aligned else _fingerprint_voices()
    if json.loads(text)["version"] == 1:
        return text + voices
    described = [
        bundle.sample_rate,
        bundle.num_channels,
        bundle.source_names,
        bundle.aligned,
        bundle.window_s,
        bundle.context_s,
    ]
    if bundle.upper_band is not None:
        upper = bundle.upper_band
        described += [upper.sample_rate, upper.step_s, upper.edges_hz]
    return voices + json.dumps(described)


@functools.cache
def _fingerprint_voices() -> str:
    names = _list_names(VOICE_MODEL, f"{SAVED_MODEL}/**")
    return _fingerprint("", VOICE_MODEL, names)


def _describe_spleeter(descriptor: str, configuration: Mapping[str, Any], folder: str) -> Model:
    checkpoint = _latest_checkpoint(folder)
    names = _list_names(folder, f"{checkpoint}.*")
    if f"{checkpoint}.index" not in names:
        raise ModelError(f"{folder}: {checkpoint}.index is missing: the checkpoint is incomplete")
    names = tuple(name for name in names if not name.endswith(".meta"))
    try:
        return Model(
            name=descriptor,
            folder=folder,
            file_names=names,
            fingerprint=_fingerprint(json.dumps(configuration, sort_keys=True), folder, names),
            sample_rate=configuration["sample_rate"],
            num_channels=configuration["n_channels"],
            source_names=tuple(configuration["instrument_list"]),
            aligned=True,
            framing=spleeter_framing(
                configuration["frame_length"], configuration["frame_step"], configuration["T"]
            ),
            upper_band=None,
            spleeter=configuration,
            checkpoint=checkpoint,
        )
    except KeyError as error:
        raise ModelError(f"{descriptor}: not a Spleeter configuration: no {error}") from None


def _stock_configuration(name: str) -> Mapping[str, Any]:
    require_installed("spleeter")
    resource = importlib.resources.files("spleeter").joinpath("resources", f"{name}.json")
    if not resource.is_file():
        raise ModelError(
            f"{name!r} is no stock model of Spleeter, such as 2stems or 5stems-16kHz: a checkpoint "
            "of another model is given by its configuration (.json)"
        )
    return json.loads(resource.read_text("utf-8"))  # type: ignore[no-any-return]


def _read_configuration(path: str) -> Mapping[str, Any]:
    if not files.exists(path):
        raise ModelError(f"{path}: no such file")
    try:
        configuration = json.loads(read_text(path))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from None
    if not isinstance(configuration, dict) or "model_dir" not in configuration:
        raise ModelError(f"{path}: not a Spleeter configuration: no 'model_dir'")
    return configuration


def _model_folder(configuration: Mapping[str, Any]) -> str:
    """Returns the folder in which Spleeter looks for the checkpoint."""
    folder: str = configuration["model_dir"]
    if files.is_remote(folder) or os.path.isabs(folder):
        return folder
    return files.join(os.environ.get("MODEL_PATH", "pretrained_models"), folder)


def _latest_checkpoint(folder: str) -> str:
    path = files.join(folder, _CHECKPOINT)
    if not files.exists(path):
        raise ModelError(
            f"{folder}: no checkpoint in it. Spleeter's models are under MODEL_PATH, by default "
            "pretrained_models, in a folder for each"
        )
    match = re.search(r'^model_checkpoint_path: "(.*)"', files.read_text(path), re.MULTILINE)
    if match is None:
        raise ModelError(f"{path}: names no checkpoint")
    # The path may be of the machine that trained the model; only its last part counts.
    return posixpath.basename(match[1])


def _list_names(folder: str, pattern: str) -> tuple[str, ...]:
    """Returns the paths of the files that match, relative to the folder."""
    prefix = files.join(folder, "")
    names = (path.removeprefix(prefix) for path in files.list_paths(folder, pattern))
    return tuple(name for name in names if not name.endswith("/"))


def _fingerprint(description: str, folder: str, names: Sequence[str]) -> str:
    digest = hashlib.sha256(description.encode())
    for name in names:
        digest.update(f"\n{name}\n".encode())
        with files.open_file(files.join(folder, name)) as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
