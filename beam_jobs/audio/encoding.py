"""Writing audio files, block by block or at once."""

import contextlib
import io
from collections.abc import Callable, Iterator

import soundfile

from beam_jobs.audio.resampling import resampler
from beam_jobs.storage import files
from schemas.ledger import AudioFormat
from schemas.pcm import Pcm, Samples, to_pcm

OPUS_SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)

# The header of a WAV file counts bytes in 32 bits; leave some room for the header itself.
_MAX_WAV_SIZE = (1 << 32) - (1 << 16)
# What does not fit on a disk on which libsndfile could not write a block.
_MORE_BYTES = 1 << 16

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
    """Opens a file for writing; it appears under its name, complete, when the `with` block ends.

    Args:
        path: the file.
        audio_format: the format to write, whatever the suffix of `path` says.
        rates: sample rates in Hz of the blocks and of the file.
        num_frames: length of the file, in frames of its own rate.
        num_channels: channels of the blocks and of the file.

    Yields:
        A function that writes a block, float32 [samples, channels], and is told whether it is the
        last one.

    Raises:
        OutputError: the file can't be written.
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
            with files.as_output_error(path), _with_the_reason(local):
                file.write(to_pcm(samples) if encoding == "PCM_16" else samples)

        yield write
        with files.as_output_error(path), _with_the_reason(local):
            file.close()
            # libsndfile reports no error when the disk fills up as it closes a file.
            if soundfile.info(local).frames != num_frames:
                raise soundfile.SoundFileRuntimeError("what was written does not read back")
            stack.pop_all().close()


@contextlib.contextmanager
def _with_the_reason(path: str) -> Iterator[None]:
    """Raises what the system says where libsndfile says that a file can't be written."""
    try:
        yield
    except soundfile.SoundFileError as error:
        with open(path, "ab") as file:
            file.write(bytes(_MORE_BYTES))
        raise OSError(str(error)) from error


def encode_audio(samples: Pcm, sample_rate: int, audio_format: AudioFormat) -> bytes:
    """Returns the content of an audio file with 16-bit samples.

    Args:
        samples: int16 [samples, channels].
        sample_rate: sample rate in Hz.
        audio_format: `wav` or `flac`.
    """
    file = io.BytesIO()
    container, encoding = _ENCODINGS[audio_format]
    soundfile.write(file, samples, sample_rate, encoding, format=container)
    return file.getvalue()
