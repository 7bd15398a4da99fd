"""Speech as it comes out of a codec, aligned with what went in.

G.711, GSM and MP3 are libsndfile's, and need nothing else. AMR and Opus are FFmpeg's.
"""

import importlib.metadata
import io
from collections.abc import Collection, Mapping

import numpy as np
import soundfile
import soxr

from beam_jobs.audio.concealment import conceal_losses
from schemas.errors import is_installed
from schemas.pcm import Samples, to_pcm
from schemas.transmission import PACKET_S, Codec, CodecName

# As libsndfile calls them.
_ENCODINGS: Mapping[CodecName, str] = {"mu_law": "ULAW", "a_law": "ALAW", "gsm": "GSM610"}

# Any other codec is a telephone's.
_TELEPHONE_RATES = (8000,)
_RATES = {
    "opus": (8000, 12000, 16000, 24000, 48000),
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}

# In samples, of files of MP3 where frames are too small for LAME's tag; others say it themselves.
_MP3_DELAY = 1105


def find_missing(names: Collection[CodecName]) -> str:
    """Returns what is missing here for one of some codecs, or an empty text."""
    for name in sorted(set(names) - _ENCODINGS.keys() - {"mp3"}):
        remedy = "pip install 'spleeter-beam[av]'"
        if not is_installed("av"):
            return f"{name} needs PyAV: {remedy}"
        from beam_jobs.audio.pyav_codecs import LIBRARIES, is_available  # noqa: PLC0415

        if not is_available(name):
            return f"{name} needs a PyAV with {LIBRARIES[name]}: {remedy}"
    return ""


def codec_versions() -> list[str]:
    """Returns the packages that bring the libraries of the codecs, with their versions."""
    packages = ["av", "soundfile"] if is_installed("av") else ["soundfile"]
    return [f"{package} {importlib.metadata.version(package)}" for package in packages]


def through_codec(samples: Samples, sample_rate: int, codec: Codec) -> Samples:
    """Encodes and decodes a signal.

    Args:
        samples: float32 [samples], full scale at 1; what is beyond that is clipped.
        sample_rate: in Hz. The codec gets the lowest of its own rates that is no lower, or its
            highest.
        codec: with the packets that get lost.

    Returns:
        float32 [samples], at the same rate, without the codec's delay.

    Raises:
        ImportError: the codec needs PyAV, which is not installed.
    """
    rates = _RATES.get(codec.name, _TELEPHONE_RATES)
    rate = next((one for one in rates if one >= sample_rate), rates[-1])
    sent = _resample(samples, sample_rate, rate)
    if codec.name in _ENCODINGS:
        heard = _through_sndfile(sent, _ENCODINGS[codec.name], rate)
        heard = conceal_losses(heard, codec.lost_packets, PACKET_S, rate)
    elif codec.name == "mp3":
        assert codec.kbps is not None
        heard = _through_mp3(sent, codec.kbps, rate)
    else:
        from beam_jobs.audio.pyav_codecs import through_pyav  # noqa: PLC0415

        heard, rate = through_pyav(sent, rate, codec)
    heard = _resample(heard, rate, sample_rate)[: len(samples)]
    return np.pad(heard, (0, len(samples) - len(heard)))


def _resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    if from_rate == to_rate:
        return samples
    resampled: Samples = soxr.resample(samples, from_rate, to_rate)
    return resampled


def _through_sndfile(samples: Samples, encoding: str, sample_rate: int) -> Samples:
    file = io.BytesIO()
    # Floating point would be rounded where G.711 cuts off, so that A-law is half a step too high.
    soundfile.write(file, to_pcm(samples), sample_rate, encoding, format="RAW")
    file.seek(0)
    heard: Samples = soundfile.read(
        file, dtype="float32", samplerate=sample_rate, channels=1, format="RAW", subtype=encoding
    )[0]
    return heard


def _through_mp3(samples: Samples, kbps: float, sample_rate: int) -> Samples:
    lowest, highest = (32, 320) if sample_rate >= 32000 else (8, 160)
    if sample_rate < 16000:
        highest = 64
    # libsndfile takes a number from 0 to 1 that stands for a bit rate, and refuses 1.
    compression = min(max((highest - kbps) / (highest - lowest), 0.0), 0.9999)
    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        sample_rate,
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=compression,
    )
    file.seek(0)
    heard: Samples = soundfile.read(file, dtype="float32")[0]
    # Longer than what was written only without LAME's tag, which also has the length.
    return heard if len(heard) == len(samples) else heard[_MP3_DELAY:]
