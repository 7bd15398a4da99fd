"""Reading audio files side by side, at one rate, in blocks that begin and end together.

A separated recording and its references may be files of different rates, and of any length.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from beam_jobs.audio.decoding import read_blocks, read_header
from beam_jobs.audio.resampling import resample_blocks
from beam_jobs.audio.types import AudioHeader, UnusableAudioError
from beam_jobs.separation.references import UnscorableError
from beam_jobs.separation.windows import Framing, cut_windows
from schemas.pcm import Samples

_DECODED_S = 60.0
# After resampling, lengths differ by a sample or so.
_MAX_LENGTH_DIFFERENCE_S = 0.01


def read_scored_header(path: str) -> AudioHeader:
    """Reads the header of a file that is needed for scoring.

    Raises:
        UnscorableError: it can't be read; the message begins with the path.
    """
    try:
        return read_header(path)
    except UnusableAudioError as error:
        raise UnscorableError(f"{path}: {error}") from None


def align_files(
    paths: Sequence[str], reference: AudioHeader, block_s: float
) -> Callable[[], Iterator[Samples]]:
    """Returns a function that reads files side by side, each time from the beginning.

    Args:
        paths: of the files, which are mixed down to one channel.
        reference: has the rate and the length that the samples of all files get.
        block_s: the longest block, in seconds; blocks are about equally long.

    Returns:
        A function that yields float32 [files, samples]. It raises `UnscorableError` if a file
        can't be decoded.

    Raises:
        UnscorableError: a file is missing, is not audio, or has another length.
    """
    duration_s = reference.num_frames / reference.sample_rate
    headers = [read_scored_header(path) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        own_s = header.num_frames / header.sample_rate
        if abs(own_s - duration_s) > _MAX_LENGTH_DIFFERENCE_S:
            raise UnscorableError(f"{path}: {own_s:.2f} s long, not {duration_s:.2f} s")
    block_length = -(-reference.num_frames // math.ceil(duration_s / block_s))
    framing = Framing(length=block_length, hop=block_length)

    def read_one(path: str, header: AudioHeader) -> Iterator[Samples]:
        blocks = read_blocks(path, round(_DECODED_S * header.sample_rate))
        mono = (block.mean(axis=1, keepdims=True) for block in blocks)
        resampled = resample_blocks(
            mono, header.sample_rate, reference.sample_rate, 1, reference.num_frames
        )
        try:
            for window in cut_windows(resampled, reference.num_frames, framing):
                yield window[:, 0]
        except UnusableAudioError as error:
            raise UnscorableError(f"{path}: {error}") from None

    def read_all() -> Iterator[Samples]:
        columns = map(read_one, paths, headers)
        return (np.stack(column) for column in zip(*columns, strict=True))

    return read_all
