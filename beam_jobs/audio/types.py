"""The audio files that can be read, what is known of one, and why one can't be used."""

import dataclasses
from typing import Protocol

from schemas.errors import UserError
from schemas.pcm import Samples

MP3_SUFFIX = ".mp3"
SNDFILE_SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64"}
    | {".snd", ".sph", ".w64", ".wav", ".wave"}
)
PYAV_SUFFIXES = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".m4a", ".mka", ".mp4", ".tta", ".webm", ".wma", ".wv"}
)

JOINED = "several files joined into one: take them apart"


class UnusableAudioError(UserError):
    """A fault of the file itself, so that retrying is pointless; the message omits the path."""


@dataclasses.dataclass(frozen=True, slots=True)
class AudioHeader:
    """The properties of an audio file.

    Attributes:
        sample_rate: in Hz.
        num_frames: samples per channel.
        num_channels: at least 1.
        is_float: whether samples are stored as floating point and may exceed full scale.
    """

    sample_rate: int
    num_frames: int
    num_channels: int
    is_float: bool = False


class AudioFile(Protocol):
    """The part of `soundfile.SoundFile` that the readers use."""

    @property
    def samplerate(self) -> int:
        """The sample rate in Hz."""

    @property
    def frames(self) -> int:
        """The number of samples per channel."""

    @property
    def channels(self) -> int:
        """The number of channels, at least 1."""

    @property
    def extra_info(self) -> str:
        """The log that libsndfile kept while it read the header."""

    def seek(self, frame: int, /) -> int:
        """Moves to a frame, counted from 0."""

    def read(self, frames: int, dtype: str, always_2d: bool = False) -> Samples:
        """Decodes the next frames: float32 [frames] of one channel, else [frames, channels]."""


def change_of_format(before: tuple[int, int], after: tuple[int, int], frame: int) -> str:
    """Words the reason why a file is not used whose format changes on the way.

    Args:
        before: sample rate in Hz and number of channels.
        after: those from `frame` on.
        frame: where they change, counted in frames of the first sample rate.
    """
    place = f"after {frame / before[0]:.1f} s"
    if before[1] != after[1]:
        return f"changes from {before[1]} to {after[1]} channels {place}"
    return f"changes from {before[0]} to {after[0]} Hz {place}"
