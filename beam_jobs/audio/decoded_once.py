"""Long files that can be decoded from their beginning only: each once for all its ranges.

A corpus may have hundreds of utterances in a file of hours. This keeps what was decoded of the last
few such files in temporary files, as far as ranges were read from them.
"""

import atexit
import contextlib
import tempfile
import threading
from collections.abc import Callable

import numpy as np

from beam_jobs.audio.identity import Identity, find_identity
from beam_jobs.audio.types import AudioFile
from schemas.pcm import Samples

LONG_S = 60.0
"""What is before this is decoded again for each range, in less than a second."""

# On the disk, in each process: six hours at 44.1 kHz.
_MAX_BYTES = 4 << 30
_BYTES_PER_SAMPLE = 4
_BLOCK_FRAMES = 1 << 18

_kept: "dict[Identity, _Decoded]" = {}
_lock = threading.Lock()


def read_range(
    path: str, file: AudioFile, start: int, stop: int, open_again: Callable[..., AudioFile]
) -> Samples | None:
    """Reads a range of a file, and keeps what is decoded on the way.

    Args:
        path: of the file.
        file: the file, which tells its sample rate and its channels.
        start: first frame of the range.
        stop: frame after the last one.
        open_again: opens the file, given the stack that closes it.

    Returns:
        float32 [samples, channels], fewer where the file ends; None if the file is not kept, since
        the range is near its beginning, or there is no room.
    """
    identity = find_identity(path)
    size = stop * file.channels * _BYTES_PER_SAMPLE
    if identity is None or start < LONG_S * file.samplerate or size > _MAX_BYTES:
        return None
    with _lock:
        decoded = _kept.pop(identity, None)
        try:
            decoded = decoded or _Decoded(open_again)
            samples = decoded.read(start, stop)
        except BaseException as error:
            if decoded is not None:
                decoded.close()
            # No temporary files can be written here.
            if isinstance(error, OSError):
                return None
            raise
        _kept[identity] = decoded
        while sum(one.num_bytes for one in _kept.values()) > _MAX_BYTES:
            _kept.pop(next(iter(_kept))).close()
    return samples


@atexit.register
def _close_all() -> None:
    while _kept:
        _kept.popitem()[1].close()


class _Decoded:
    """A file, and a temporary file with what was decoded of it so far.

    Attributes:
        num_bytes: the size of the temporary file.
    """

    def __init__(self, open_file: Callable[[contextlib.ExitStack], AudioFile]) -> None:
        self.num_bytes = 0
        with contextlib.ExitStack() as stack:
            self._decoded = stack.enter_context(tempfile.TemporaryFile())
            self._file = open_file(stack)
            self._stack = stack.pop_all()
        self._frame_bytes = self._file.channels * _BYTES_PER_SAMPLE

    def read(self, start: int, stop: int) -> Samples:
        """Returns a range, float32 [samples, channels]."""
        self._decoded.seek(self.num_bytes)
        while self.num_bytes < stop * self._frame_bytes:
            block = self._file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            if not len(block):
                break
            self._decoded.write(block.tobytes())
            self.num_bytes += block.nbytes
        self._decoded.seek(start * self._frame_bytes)
        content = self._decoded.read((stop - start) * self._frame_bytes)
        return np.frombuffer(content, np.float32).reshape(-1, self._file.channels).copy()

    def close(self) -> None:
        """Closes and removes the files."""
        self._stack.close()
