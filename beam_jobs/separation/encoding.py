"""Writing outputs: audio that comes in blocks, and what goes with it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from beam_jobs import files
from beam_jobs.separation.framing import Samples
from beam_jobs.separation.resampling import resampler
from schemas.ledger import AudioFormat

OPUS_SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)

# The largest size in bytes that the header of a WAV file can express, less some for the header.
_MAX_WAV_SIZE = (1 << 32) - (1 << 16)
_ENCODINGS: dict[AudioFormat, tuple[str, str]] = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
}


class OutputError(OSError):
    """An output can't be written: no fault of the recording, so the job ends."""


@contextlib.contextmanager
def write_audio(
    path: str,
    *,
    audio_format: AudioFormat,
    rates: tuple[int, int],
    num_frames: int,
    num_channels: int,
) -> Iterator[Callable[[Samples, bool], None]]:
    """Gives a function that writes blocks; the file is there, whole, when the block ends.

    Args:
        path: the file.
        audio_format: its format.
        rates: of the blocks, and of the file.
        num_frames: the length of the file.
        num_channels: of both.
    """
    container, encoding = _ENCODINGS[audio_format]
    if container == "WAV" and num_frames * num_channels * 2 > _MAX_WAV_SIZE:
        container = "RF64"
    resample = resampler(*rates, num_channels, num_frames)
    with contextlib.ExitStack() as stack:
        with _as_output_error(path):
            local = stack.enter_context(files.write_atomically_from_disk(path))
            file = soundfile.SoundFile(
                local, "w", rates[1], num_channels, subtype=encoding, format=container
            )
        stack.callback(file.close)

        def write(block: Samples, last: bool) -> None:
            samples = resample(block, last)
            with _as_output_error(path):
                file.write(_quantise(samples) if encoding == "PCM_16" else samples)

        yield write
        with _as_output_error(path):
            file.close()
            # libsndfile says nothing when the disk is full while it closes a file.
            if soundfile.info(local).frames != num_frames:
                raise OSError("what was written does not read back")
            stack.pop_all().close()


def _quantise(samples: Samples) -> npt.NDArray[np.int16]:
    """The nearest steps of 16 bits; libsndfile cuts off what is between two, in twice the time."""
    scaled = samples * np.float32(1 << 15)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -(1 << 15), (1 << 15) - 1, out=scaled).astype(np.int16)


@contextlib.contextmanager
def _as_output_error(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        raise OutputError(
            f"{path}: can't be written: {error}. What is finished is kept: make room or give "
            "another --output, and run again"
        ) from error


def write_text(path: str, text: str) -> None:
    """Writes a small file.

    Raises:
        OutputError: it can't be written.
    """
    with _as_output_error(path), files.write_atomically_from_disk(path) as local:
        Path(local).write_text(text, "utf-8")
