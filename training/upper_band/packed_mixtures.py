"""Mixtures and what a separator makes of them, packed as energies in bands."""

import dataclasses
import itertools
import logging
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soxr
import tensorflow as tf

from command_line.progress import Progress, ProgressBar
from schemas.bundle import Bundle
from schemas.dataset import SPLITS
from schemas.errors import UserError
from schemas.mixture import decode_mixture, mix_down
from schemas.pcm import Samples
from training.input import MixtureDataset, open_mixtures, read_examples
from training.loaded_separator import LoadedSeparator, load_separator
from training.local_files import write_atomically
from training.upper_band.bands import BANDS, LOWER_EDGES_HZ, band_weights, energies, spectra

_LOG = logging.getLogger(__name__)

_BATCH_WINDOWS = 8
# A window of which less is left at the end of a mixture is left out.
_MIN_SHARE = 0.5

_ARRAYS = ("fingerprint", "separated", "clean", "products")

Energies = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Mixtures:
    """Windows of mixtures from one split of one dataset or more.

    A mixture's parts are its sources and, last, its noise. All energies are means of the squared
    magnitudes of an orthonormal spectrum's bins, added up within a band.

    Attributes:
        separated: of the outputs below, each in the place of the source that it is most like,
            float32 [windows, sources, frames, lower bands].
        clean: of the sources below, float32 [windows, sources, frames, lower bands].
        products: of every two parts above, the real part of the product of one with the
            conjugate of the other: energies on the diagonal, float32 [windows, frames,
            upper bands, parts, parts].
        fingerprints: of the datasets.
    """

    separated: Energies
    clean: Energies
    products: Energies
    fingerprints: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.separated)


def pack(folder: str, output: Path, *, separator: str, minutes: float) -> None:
    """Packs the mixtures of a dataset: a file `NAME.SPLIT.npz` for each split.

    Args:
        folder: the dataset's.
        output: the folder that gets the files; those that are there are kept.
        separator: the bundle that separates the mixtures.
        minutes: of mixtures of each split.

    Raises:
        UnusableDatasetError: the dataset can't be used.
        UserError: the dataset does not have the rate of the upper band, the separator does not fit
            it, or the output has another dataset of the same name.
    """
    dataset = open_mixtures(folder)
    if dataset.info.sample_rate != BANDS.sample_rate:
        raise UserError(
            f"{folder}: mixtures at {dataset.info.sample_rate} Hz, and the upper band is taken from"
            f" {BANDS.sample_rate} Hz"
        )
    output.mkdir(parents=True, exist_ok=True)
    loaded = load_separator(separator)
    _check_separator(separator, loaded.bundle, dataset)
    for split in SPLITS:
        path = output / f"{Path(folder).name}.{split}.npz"
        if path.exists():
            if _load(path)["fingerprint"] != dataset.info.fingerprint:
                raise UserError(
                    f"{folder}: {path} has another dataset of this name: name another --output, or"
                    f" rename the dataset's folder {Path(folder).name}"
                )
            continue
        found = []
        with ProgressBar(leave=False) as bar:
            for batch in _separated_windows(dataset, split, minutes, loaded):
                found.append(batch)
                num_windows = sum(len(one["separated"]) for one in found)
                bar.show_at_times(Progress(f"{split}: {num_windows:,} windows separated"))
        if not found:
            continue
        arrays = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        with write_atomically(path) as file:
            _save(file, {"fingerprint": np.array(dataset.info.fingerprint)} | arrays)
        _LOG.info("%s: %d windows", path, num_windows)


def open_packed(folder: Path, split: str) -> Mixtures:
    """Reads what has been packed of a split.

    Raises:
        UserError: there is nothing, or it is damaged, or of different numbers of speakers.
    """
    paths = sorted(folder.glob(f"*.{split}.npz"))
    if not paths:
        raise UserError(
            f"{folder}: no *.{split}.npz in it: python -m training.upper_band.pack makes it"
        )
    parts = [_load(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part["products"].shape[1:] != parts[0]["products"].shape[1:]:
            raise UserError(
                f"{path}: has another number of speakers, or another length of windows, than"
                f" {paths[0]}: pack them into folders of their own"
            )
    fingerprints = tuple(str(part.pop("fingerprint")) for part in parts)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Mixtures(fingerprints=fingerprints, **arrays)


def _save(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Does what `numpy.savez` does, which prints a traceback of its own if the disk is full."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array)  # type: ignore[no-untyped-call]


def _load(path: Path) -> dict[str, Any]:
    try:
        with np.load(path) as file:
            arrays = dict(file)
        return {name: arrays[name] for name in _ARRAYS}
    except (AttributeError, EOFError, LookupError, ValueError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path}: damaged: copy it again, or remove it and pack it again") from None


def _check_separator(folder: str, bundle: Bundle, dataset: MixtureDataset) -> None:
    if bundle.num_channels != 1 or bundle.sample_rate != round(2 * LOWER_EDGES_HZ[-1]):
        raise UserError(
            f"{folder}: for {bundle.num_channels} channels at {bundle.sample_rate} Hz, and the"
            f" upper band is for one at {2 * LOWER_EDGES_HZ[-1]:g} Hz"
        )
    if bundle.num_sources != dataset.info.num_sources:
        raise UserError(
            f"{dataset.folder}: has mixtures of {dataset.info.num_sources} speakers, and {folder}"
            f" separates {bundle.num_sources}"
        )


def _separated_windows(
    dataset: MixtureDataset, split: str, minutes: float, separator: LoadedSeparator
) -> Iterator[dict[str, Energies]]:
    rate, window_s = separator.bundle.sample_rate, separator.bundle.window_s
    windows = itertools.islice(
        _windows(dataset, split, round(window_s * BANDS.sample_rate)),
        round(60 * minutes / window_s),
    )
    while batch := list(itertools.islice(windows, _BATCH_WINDOWS)):
        parts = np.stack(batch)
        lower = _resample(parts, BANDS.sample_rate, rate)
        outputs = separator.separate(lower.sum(axis=1))
        sources = lower[:, :-1]
        outputs = np.stack([_in_order(*pair) for pair in zip(outputs, sources, strict=True)])
        above = parts - _resample(lower, rate, BANDS.sample_rate)
        yield {
            "separated": energies(outputs, rate, LOWER_EDGES_HZ).numpy(),
            "clean": energies(sources, rate, LOWER_EDGES_HZ).numpy(),
            "products": _products(above),
        }


def _windows(dataset: MixtureDataset, split: str, length: int) -> Iterator[Samples]:
    """Yields the parts of windows, float32 [parts, length]."""
    for example in read_examples(dataset, split):
        stored = decode_mixture(example, dataset.folder)
        mixture, sources = mix_down(stored.mixture), mix_down(stored.sources)
        parts = np.concatenate([sources, mixture[np.newaxis] - sources.sum(axis=0)])
        for start in range(0, parts.shape[1], length):
            window = parts[:, start : start + length]
            if window.shape[1] >= _MIN_SHARE * length:
                yield np.pad(window, ((0, 0), (0, length - window.shape[1])))


def _resample(signals: Samples, from_rate: int, to_rate: int) -> Samples:
    """Resamples float32 [..., samples]."""
    flat = signals.reshape(-1, signals.shape[-1])
    resampled = soxr.resample(np.ascontiguousarray(flat.T), from_rate, to_rate).T
    return resampled.reshape(*signals.shape[:-1], -1)  # type: ignore[no-any-return]


def _in_order(outputs: Samples, sources: Samples) -> Samples:
    """Puts outputs [sources, samples] in the order in which they are most like the sources."""
    likeness = sources @ outputs.T
    orders = itertools.permutations(range(len(outputs)))
    best = max(orders, key=lambda order: likeness[range(len(order)), order].sum())
    return outputs[list(best)]


def _products(parts: Samples) -> Energies:
    found = spectra(tf.constant(parts), BANDS.sample_rate).numpy()
    weights = band_weights(BANDS.edges_hz, found.shape[-1], BANDS.sample_rate)
    products = np.real(found[:, :, np.newaxis] * found[:, np.newaxis].conj()) @ weights
    return np.moveaxis(products, (1, 2), (3, 4)).astype(np.float32)
