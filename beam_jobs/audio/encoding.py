"""Writing outputs: audio that comes in blocks, and what goes with it."""

import contextlib
import io
from collections.abc import Callable, Iterator

import soundfile

from beam_jobs.audio.resampling import resampler
from beam_jobs.storage import files
from schemas.ledger import AudioFormat
from schemas.pcm import Pcm, Samples, to_pcm

OPUS_SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)

# The largest size in bytes that the header of a WAV file can express, less some for the header.
_MAX_WAV_SIZE = (1 << 32) - (1 << 16)
_ENCODINGS: dict[AudioFormat, tuple[str, str]] = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
}


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
        with files.as_output_error(path, soundfile.SoundFileError):
            local = stack.enter_context(files.write_atomically_from_disk(path))
            file = soundfile.SoundFile(
                local, "w", rates[1], num_channels, subtype=encoding, format=container
            )
        stack.callback(file.close)

        def write(block: Samples, last: bool) -> None:
            samples = resample(block, last)
            with files.as_output_error(path, soundfile.SoundFileError):
                file.write(to_pcm(samples) if encoding == "PCM_16" else samples)

        yield write
        with files.as_output_error(path, soundfile.SoundFileError):
            file.close()
            # libsndfile says nothing when the disk is full while it closes a file.
            if soundfile.info(local).frames != num_frames:
                raise OSError("what was written does not read back")
            stack.pop_all().close()


def encode_audio(samples: Pcm, sample_rate: int, audio_format: AudioFormat) -> bytes:
    """Encodes a whole signal in 16 bits.

    Args:
        samples: int16 [samples, channels].
        sample_rate: in Hz.
        audio_format: `wav` or `flac`.

    Returns:
        The content of the file.
    """
    file = io.BytesIO()
    container, encoding = _ENCODINGS[audio_format]
    soundfile.write(file, samples, sample_rate, encoding, format=container)
    return file.getvalue()
