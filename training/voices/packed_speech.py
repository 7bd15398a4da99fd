"""Speech of known speakers, packed from the mixtures of datasets: writing and reading it."""

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.optimize

from command_line.progress import Progress, ProgressBar
from schemas.bundle import Bundle
from schemas.dataset import SPLITS
from schemas.errors import UserError
from schemas.mixture import decode_mixture, mix_down
from schemas.pcm import Pcm, Samples, to_pcm
from schemas.recipe import Recipe
from training.input import MixtureDataset, open_mixtures, read_examples
from training.loaded_separator import LoadedSeparator, load_separator
from training.local_files import write_atomically, write_text

_LOG = logging.getLogger(__name__)

Kind = Literal["clean", "separated"]
KINDS: tuple[Kind, ...] = ("clean", "separated")

_STEP_S = 0.02
# Anything further below the loudest speech counts as a pause.
_BELOW_LOUDEST_DB = 30.0
_LOUDEST_PERCENTILE = 95
# A speaker counts as alone if the other outputs are this much softer.
_ALONE_DB = 6.0
_MIN_PIECE_S = 0.5
# More power of the other speakers than this, relative to the speaker, makes a label unreliable.
_MAX_WRONG_SHARE = 0.2
_BATCH_WINDOWS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one speaker's speech, without pauses.

    Attributes:
        voice: the corpus and the speaker.
        gender: `f`, `m`, or empty where the corpus does not say.
        split: of the dataset.
        mixture: the dataset and the mixture that it is from.
        start: the first sample in the file.
        stop: the sample after the last.
    """

    voice: str
    gender: str
    split: str
    mixture: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """Pieces of speech of one kind from one dataset.

    Attributes:
        dataset: the name of the dataset.
        fingerprint: of the dataset.
        kind: `clean`, or `separated` for outputs of a separator.
        sample_rate: in Hz.
        pieces: all of them.
        pcm: int16 [samples], mapped into memory.
    """

    dataset: str
    fingerprint: str
    kind: Kind
    sample_rate: int
    pieces: tuple[Piece, ...]
    pcm: Pcm


def pack(folder: str, output: Path, *, separator: str | None, separated_s: float) -> None:
    """Packs the speech of one dataset.

    Args:
        folder: the dataset's.
        output: the folder that gets the speech.
        separator: a bundle, or None for clean speech alone.
        separated_s: seconds of mixtures that it separates, of each split.

    Raises:
        UnusableDatasetError: the dataset can't be used.
        UserError: the bundle does not fit the dataset, or the output has another dataset of the
            same name.
    """
    dataset = open_mixtures(folder)
    loaded = None
    if separator is not None:
        loaded = load_separator(separator)
        _check_separator(separator, loaded.bundle, dataset)
    output.mkdir(parents=True, exist_ok=True)
    name = PurePosixPath(folder.rstrip("/")).name
    if not _is_packed(output, name, "clean", dataset):
        _write(output, name, "clean", dataset, _clean_pieces(dataset))
    if loaded is not None and not _is_packed(output, name, "separated", dataset):
        pieces = _separated_pieces(dataset, loaded, separated_s)
        _write(output, name, "separated", dataset, pieces)


def open_speech(folder: Path) -> list[Speech]:
    """Reads what has been packed.

    Raises:
        UserError: nothing is there, or it is damaged.
    """
    packed = [
        _open(index)
        for index in sorted(folder.glob("*.json"))
        if index.name.endswith(tuple(f".{kind}.json" for kind in KINDS))
    ]
    if not packed:
        raise UserError(f"{folder}: no speech in it: python -m training.voices.speech packs some")
    return packed


def _open(index: Path) -> Speech:
    try:
        document = json.loads(index.read_text("utf-8"))
        pieces = tuple(Piece(*piece) for piece in document.pop("pieces"))
        pcm = np.zeros(0, np.int16)
        if pieces:
            length = (pieces[-1].stop,)
            pcm = np.memmap(index.with_suffix(".pcm"), np.int16, mode="r", shape=length)
        return Speech(pieces=pieces, pcm=pcm, **document)
    except (AttributeError, FileNotFoundError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{index}: it or the .pcm beside it is damaged ({error}): copy both again, or remove"
            " both and pack them again"
        ) from None


def where_alone(signals: Samples, sample_rate: int) -> npt.NDArray[np.bool_]:
    """Finds the steps in which one of several signals is audible and the others are much softer.

    Args:
        signals: [signals, samples].
        sample_rate: in Hz.

    Returns:
        [signals, steps]: for each step of 20 ms, whether the signal is within 30 dB of the loudest
        speech in all of them, and 6 dB above the others.
    """
    length = round(_STEP_S * sample_rate)
    steps = signals[:, : signals.shape[1] // length * length].reshape(len(signals), -1, length)
    levels_db = 10 * np.log10(np.mean(np.square(steps), axis=2) + 1e-12)
    if not levels_db.size:
        return np.zeros(levels_db.shape, bool)
    loudest_db = np.percentile(levels_db.max(axis=0), _LOUDEST_PERCENTILE)
    alone = levels_db > loudest_db - _BELOW_LOUDEST_DB
    for index, own_db in enumerate(levels_db):
        others_db = np.delete(levels_db, index, axis=0).max(axis=0, initial=-np.inf)
        alone[index] &= own_db > others_db + _ALONE_DB
    return alone  # type: ignore[no-any-return]


def keep_steps(signal: Samples, steps: npt.NDArray[np.bool_], sample_rate: int) -> Samples:
    """A signal [samples] without the steps that `where_alone` leaves out."""
    length = round(_STEP_S * sample_rate)
    return signal[: len(signal) // length * length].reshape(-1, length)[steps].ravel()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Mixture:
    """A mixture [samples] in one channel, and its sources [sources, samples]."""

    recipe: Recipe
    mixture: Samples
    sources: Samples


_Found = tuple[Recipe, int, Samples]


def _clean_pieces(dataset: MixtureDataset) -> Iterator[_Found]:
    """Yields each utterance once as it was recorded, and every time it was in a room."""
    seen = set()
    for mixture in _mixtures(dataset):
        noise = mixture.mixture - mixture.sources.sum(axis=0)
        for slot, (source, *_) in enumerate(mixture.recipe.rows):
            if not np.any(noise):
                if (mixture.recipe.split, source.utterance) in seen:
                    continue
                seen.add((mixture.recipe.split, source.utterance))
            signal = mixture.sources[slot]
            spoken = where_alone(signal[np.newaxis], mixture.recipe.sample_rate)[0]
            yield (
                mixture.recipe,
                slot,
                keep_steps(signal + noise, spoken, mixture.recipe.sample_rate),
            )


def _check_separator(folder: str, bundle: Bundle, dataset: MixtureDataset) -> None:
    if (bundle.sample_rate, bundle.num_channels) != (dataset.info.sample_rate, 1):
        raise UserError(
            f"{folder}: for {bundle.num_channels} channels at {bundle.sample_rate} Hz, but the"
            f" dataset has one at {dataset.info.sample_rate} Hz"
        )


def _separated_pieces(
    dataset: MixtureDataset, separator: LoadedSeparator, separated_s: float
) -> Iterator[_Found]:
    bundle = separator.bundle
    length = round(bundle.window_s * bundle.sample_rate)
    windows: list[tuple[Recipe, Samples, Samples]] = []

    def separated() -> Iterator[_Found]:
        outputs = separator.separate(np.stack([window for _, window, _ in windows]))
        for (recipe, _, sources), estimates in zip(windows, outputs, strict=True):
            for slot, piece in _match(estimates, sources, bundle.sample_rate):
                yield recipe, slot, piece
        windows.clear()

    for mixture in _sample(dataset, separated_s):
        for start in range(0, len(mixture.mixture), length):
            parts = np.stack([mixture.mixture, *mixture.sources])[:, start : start + length]
            if parts.shape[1] < length:
                parts = np.pad(parts, ((0, 0), (0, length - parts.shape[1])))
            windows.append((mixture.recipe, parts[0], parts[1:]))
            if len(windows) == _BATCH_WINDOWS:
                yield from separated()
    if windows:
        yield from separated()


def _match(estimates: Samples, sources: Samples, sample_rate: int) -> Iterator[tuple[int, Samples]]:
    """Yields the parts of each output where the others are soft, with the row of its speaker."""
    scale = np.linalg.norm(estimates, axis=1)[:, np.newaxis] * np.linalg.norm(sources, axis=1)
    similarity = (estimates @ sources.T) / np.maximum(scale, 1e-9)
    outputs, slots = scipy.optimize.linear_sum_assignment(similarity, maximize=True)
    alone = where_alone(estimates, sample_rate)
    for output, slot in zip(outputs, slots, strict=True):
        own = keep_steps(sources[slot], alone[output], sample_rate)
        others = keep_steps(
            np.delete(sources, slot, axis=0).sum(axis=0), alone[output], sample_rate
        )
        power = float(np.sum(own**2))
        if power and np.sum(others**2) <= _MAX_WRONG_SHARE * power:
            yield int(slot), keep_steps(estimates[output], alone[output], sample_rate)


def _decode(dataset: MixtureDataset, example: bytes) -> _Mixture:
    stored = decode_mixture(example, dataset.folder)
    return _Mixture(stored.recipe, mix_down(stored.mixture), mix_down(stored.sources))


def _mixtures(dataset: MixtureDataset) -> Iterator[_Mixture]:
    for split in SPLITS:
        for example in read_examples(dataset, split):
            yield _decode(dataset, example)


def _sample(dataset: MixtureDataset, duration_s: float) -> Iterator[_Mixture]:
    """Yields mixtures of that duration from each split."""
    for split in SPLITS:
        left_s = duration_s
        for example in read_examples(dataset, split):
            if left_s <= 0:
                break
            mixture = _decode(dataset, example)
            left_s -= mixture.recipe.duration_s
            yield mixture


def _write(
    output: Path, name: str, kind: Kind, dataset: MixtureDataset, found: Iterator[_Found]
) -> None:
    index = _index(output, name, kind)
    pieces = []
    start = 0
    with (
        write_atomically(index.with_suffix(".pcm")) as file,
        ProgressBar(leave=False) as bar,
    ):
        for recipe, slot, samples in found:
            if len(samples) < _MIN_PIECE_S * dataset.info.sample_rate:
                continue
            pcm = to_pcm(samples)
            file.write(pcm.tobytes())
            source = recipe.rows[slot][0]
            stop = start + len(pcm)
            pieces.append(
                Piece(
                    voice=f"{source.corpus}/{source.speaker}",
                    gender=source.gender,
                    split=recipe.split,
                    mixture=f"{name}/{recipe.id}",
                    start=start,
                    stop=stop,
                )
            )
            start = stop
            hours = start / dataset.info.sample_rate / 3600
            text = f"{name}: {len(pieces):,} pieces of {kind} speech, {hours:.2f} h"
            bar.show_at_times(Progress(text))
    document = {
        "dataset": name,
        "fingerprint": dataset.info.fingerprint,
        "kind": kind,
        "sample_rate": dataset.info.sample_rate,
        "pieces": [dataclasses.astuple(piece) for piece in pieces],
    }
    write_text(index, json.dumps(document) + "\n")
    _LOG.info(
        "%s: %d pieces of %s speech, %.2f h",
        name,
        len(pieces),
        kind,
        start / dataset.info.sample_rate / 3600,
    )


def _is_packed(output: Path, name: str, kind: Kind, dataset: MixtureDataset) -> bool:
    """Returns whether a dataset has been packed.

    Raises:
        UserError: another one of the same name has been.
    """
    index = _index(output, name, kind)
    if not index.exists():
        return False
    if _open(index).fingerprint != dataset.info.fingerprint:
        raise UserError(
            f"{dataset.folder}: {index} has another dataset of this name: name another --output, or"
            f" rename the dataset's folder {name}"
        )
    return True


def _index(output: Path, name: str, kind: Kind) -> Path:
    return output / f"{name}.{kind}.json"
