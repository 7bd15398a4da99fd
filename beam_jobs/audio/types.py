"""TODO."""

import dataclasses
from typing import Protocol

from schemas.errors import UserError
from schemas.pcm import Samples

SNDFILE_SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64"}
    | {".snd", ".sph", ".w64", ".wav", ".wave"}
)
PYAV_SUFFIXES = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".m4a", ".mka", ".mp4", ".tta", ".webm", ".wma", ".wv"}
)


class UnusableAudioError(UserError):
    """A file that no second attempt will read; the message is the reason, without the path."""


@dataclasses.dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a file says of itself.

    Attributes:
        sample_rate: in Hz.
        num_frames: samples in each channel.
        num_channels: 1 or more.
    """

    sample_rate: int
    num_frames: int
    num_channels: int


class _AudioFile(Protocol):
    """What is used of a `soundfile.SoundFile`."""

    @property
    def samplerate(self) -> int:
        """In Hz."""

    @property
    def frames(self) -> int:
        """Samples in each channel."""

    @property
    def channels(self) -> int:
        """1 or more."""

    @property
    def extra_info(self) -> str:
        """What libsndfile noticed in the header."""

    def seek(self, frame: int, /) -> int:
        """Goes to a frame."""

    def read(self, frames: int, dtype: str, always_2d: bool = False) -> Samples:
        """Decodes: float32 [frames] of one channel, [frames, channels] of several."""
