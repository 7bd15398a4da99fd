"""Decoding by libsndfile, and finding out where it does not tell all of a file."""

import contextlib
import mmap
import re
from typing import BinaryIO, cast

import soundfile

from beam_jobs.audio.mp3 import Mp3File
from beam_jobs.audio.ogg import ByteRange, JoinedFile, find_streams
from beam_jobs.audio.types import JOINED, AudioFile, UnusableAudioError
from schemas.pcm import Samples

# libsndfile's answer (SF_COUNT_MAX) where a header does not state a length.
_UNKNOWN_LENGTH = 2**63 - 1

# libsndfile reads a truncated WAV file as far as it goes, and mentions the missing bytes only in
# its log. Programs that write to a pipe can't know the length, and state the greatest possible.
_CUT_OFF = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
_LENGTH_OF_A_PIPE = 0x7FFF0000

# Its log mentions, too, if W64, RF64 and AU files go on where their header says that they end.
_SIZE = re.compile(r"^(?:riff|  Riff size) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_AU_SIZE = re.compile(
    r"^Length : (\d+)\n\.snd\n  Data Offset : (\d+)\n  Data Size   : (\d+)\n", re.MULTILINE
)
_PADDING_BYTES = 1024

# FLAC's mark with the block that always follows it, which may be the last one of its kind.
_FLAC_BEGINNINGS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
# More than libFLAC reads ahead.
_FLAC_BUFFER_BYTES = 1 << 16

# A block of GSM in a WAV file.
_GSM_BLOCK_BYTES, _GSM_BLOCK_FRAMES = 65, 320
_DATA_SIZE = re.compile(r"^data : (\d+)", re.MULTILINE)

# Opus predicts from what it decoded before: in speech at low bit rates, samples are off by up to
# 0.01 of full scale for some seconds after a seek. In 400 ranges, none was still off after 8 s.
_OPUS_MEMORY_S = 16.0

# Frames decoded at a time on the way to a later frame; bounds memory.
_SKIP_FRAMES = 1 << 20


def open_sndfile(source: str | BinaryIO, stack: contextlib.ExitStack) -> AudioFile | None:
    """Opens a file that libsndfile knows; MP3 and Ogg so that nothing of them is left out.

    Returns nothing for Layers I and II of MPEG, whose length libsndfile only estimates.

    Args:
        source: a path on this machine, or an open file.
        stack: closes the file.

    Raises:
        soundfile.LibsndfileError: libsndfile does not know the file.
    """
    if not isinstance(source, str):
        source.seek(0)
    file = stack.enter_context(soundfile.SoundFile(source))
    if file.subtype == "MPEG_LAYER_III":
        return open_mp3(source, stack)
    if file.subtype.startswith("MPEG"):
        return None
    if file.format == "OGG":
        binary = open_binary(source, stack)
        streams = find_streams(binary)
        if len(streams) > 1:
            parts = (ByteRange(binary, *stream) for stream in streams)
            files = [stack.enter_context(soundfile.SoundFile(part)) for part in parts]
            return JoinedFile([_with_exact_seeking(one) for one in files])
        if binary is source:
            binary.seek(0)
            file = stack.enter_context(soundfile.SoundFile(binary))
    return _with_exact_seeking(file)


def open_mp3(source: str | BinaryIO, stack: contextlib.ExitStack) -> AudioFile:
    """Opens an MP3.

    Raises:
        UnusableAudioError: there is no MP3 in the file.
    """
    return Mp3File(open_binary(source, stack))


def open_binary(source: str | BinaryIO, stack: contextlib.ExitStack) -> BinaryIO:
    """Opens a file at its beginning, or rewinds one that is open."""
    if isinstance(source, str):
        return stack.enter_context(open(source, "rb"))
    source.seek(0)
    return source


def check_header(file: AudioFile) -> None:
    """Checks that a file is what its header states.

    Raises:
        UnusableAudioError: the header states no length, or another one than the file's.
    """
    if file.frames == _UNKNOWN_LENGTH:
        raise UnusableAudioError("no length in its header: encode it again")
    log = file.extra_info
    cut_off = _CUT_OFF.search(log)
    if cut_off and int(cut_off[2]) < int(cut_off[1]) < _LENGTH_OF_A_PIPE:
        raise UnusableAudioError(
            f"ends early: {cut_off[2]} bytes of the {cut_off[1]} that its header promises"
        )
    size = _SIZE.search(log)
    if size and 0 < int(size[1]) < int(size[2]) - _PADDING_BYTES:
        raise UnusableAudioError(JOINED)
    au_size = _AU_SIZE.search(log)
    if au_size and int(au_size[2]) + int(au_size[3]) < int(au_size[1]) - _PADDING_BYTES:
        raise UnusableAudioError(JOINED)


def check_end(file: AudioFile, frame: int) -> None:
    """Checks that a file that was read up to a frame, if that is its last, has no more audio.

    Nothing in a FLAC's header says where the file ends, so another one may follow unnoticed.

    Raises:
        UnusableAudioError: another file follows.
    """
    if not isinstance(file, soundfile.SoundFile) or file.format != "FLAC" or frame < file.frames:
        return
    source = file.name
    if isinstance(source, str):
        with open(source, "rb") as binary:
            content = mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ)
        with content:
            joined = any(content.find(one, 4) >= 0 for one in _FLAC_BEGINNINGS)
    else:
        # Spares reading a remote file twice.
        source.seek(max(4, source.tell() - _FLAC_BUFFER_BYTES))
        rest = source.read()
        joined = any(one in rest for one in _FLAC_BEGINNINGS)
    if joined:
        raise UnusableAudioError(JOINED)


def _with_exact_seeking(file: soundfile.SoundFile) -> AudioFile:
    # After a seek in Vorbis, libsndfile may be at another frame than it says, so it never seeks.
    if file.subtype == "VORBIS":
        return _SlowlySeekingFile(file, file.frames)
    if file.subtype == "OPUS":
        return _SlowlySeekingFile(file, round(_OPUS_MEMORY_S * file.samplerate))
    if not file.seekable():
        return _SlowlySeekingFile(file)
    return cast(AudioFile, file)


class _SlowlySeekingFile:
    """A file that is decoded, not only sought, on the way to a frame.

    Attributes:
        samplerate: in Hz.
        channels: at least 1.
        frames: the number of samples per channel.
        extra_info: the log that libsndfile kept while it read the header.
    """

    def __init__(self, file: soundfile.SoundFile, num_before: int = 0) -> None:
        """Wraps a file.

        Args:
            file: at its beginning.
            num_before: frames to decode before one that is sought; all, if the file can't seek.
        """
        self._file = file
        self._num_before = num_before
        self._position = 0
        self.samplerate: int = file.samplerate
        self.channels: int = file.channels
        self.extra_info: str = file.extra_info
        self.frames: int = file.frames
        data = _DATA_SIZE.search(self.extra_info)
        # libsndfile takes the byte that makes the size of a chunk even for another block.
        if file.subtype == "GSM610" and file.format in {"WAV", "WAVEX"} and data:
            self.frames = int(data[1]) // _GSM_BLOCK_BYTES * _GSM_BLOCK_FRAMES

    def seek(self, frame: int, /) -> int:
        """Moves to a frame, counted from 0; only to a later one if the file can't seek."""
        start = max(0, frame - self._num_before)
        if self._file.seekable() and not start <= self._position <= frame:
            self._position = self._file.seek(start)
        while self._position < frame:
            if not len(self.read(min(_SKIP_FRAMES, frame - self._position))):
                break
        return self._position

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = False) -> Samples:
        """Decodes the next frames: [frames, channels], or [frames] of one channel."""
        frames = max(0, min(frames, self.frames - self._position))
        samples: Samples = self._file.read(frames, dtype=dtype, always_2d=always_2d)
        self._position += len(samples)
        return samples
