"""Separated windows that wait on disk until it is known whose output is whose."""

import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S, frame_levels_db
from schemas.pcm import MAX_PCM, Samples

Levels = npt.NDArray[np.float32]

# Levels are kept in steps of half a dB, a byte each, of what is above this.
_LOWEST_DBFS, _STEP_DB = -110.0, 0.5


class HeldWindows:
    """The outputs of a signal's windows, in a file without a name that goes with the process.

    Each window takes 16 bits a sample on disk, at its own scale so that nothing clips, and a byte
    for each frame of 20 ms in memory.
    """

    def __init__(self, sample_rate: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._frame_length = round(FRAME_S * sample_rate)
        self._scales: list[np.float32] = []
        self._levels: list[npt.NDArray[np.uint8]] = []
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._scales)

    def close(self) -> None:
        """Gives the disk back."""
        self._file.close()

    def add(self, window: Samples) -> None:
        """Keeps the outputs of the next window, float32 [sources, length, channels].

        Raises:
            OSError: the temporary folder is full.
        """
        peak = np.float32(max(window.max(), -window.min(), 1e-9))
        scale = peak / np.float32(MAX_PCM)
        try:
            self._file.write(np.rint(window / scale).astype(np.int16).tobytes())
        except OSError as error:
            raise OSError(
                error.errno,
                f"{tempfile.gettempdir()}: no room for a recording's outputs: {error.strerror}:"
                " make room there, or set TMPDIR to a folder with more",
            ) from None
        self._scales.append(scale)
        self._shape = window.shape
        levels_db = frame_levels_db(window.mean(axis=2), self._frame_length)
        steps = np.rint((levels_db - _LOWEST_DBFS) / _STEP_DB)
        self._levels.append(np.clip(steps, 0, 255).astype(np.uint8))

    def __getitem__(self, index: int) -> Samples:
        """Returns the outputs of a window, float32 [sources, length, channels]."""
        num_bytes = 2 * int(np.prod(self._shape))
        self._file.seek(index * num_bytes)
        pcm = np.frombuffer(self._file.read(num_bytes), np.int16).reshape(self._shape)
        return pcm.astype(np.float32) * self._scales[index]

    def __iter__(self) -> Iterator[Samples]:
        return (self[index] for index in range(len(self)))

    @property
    def levels_db(self) -> Levels:
        """The level of each frame of 20 ms in dBFS, float32 [windows, sources, frames]."""
        return np.stack(self._levels).astype(np.float32) * np.float32(_STEP_DB) + np.float32(
            _LOWEST_DBFS
        )
