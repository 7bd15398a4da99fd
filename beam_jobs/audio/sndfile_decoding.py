"""Decoding by libsndfile, and finding out where it does not tell all of a file."""

import contextlib
import re
from typing import BinaryIO, cast

import soundfile

from beam_jobs.audio import flac
from beam_jobs.audio.endings import LENGTH_OF_A_PIPE, check_ending
from beam_jobs.audio.mp3 import Mp3File
from beam_jobs.audio.ogg import ByteRange, JoinedFile, Stream, find_streams
from beam_jobs.audio.open_lengths import with_true_length
from beam_jobs.audio.seeking import SlowlySeekingFile
from beam_jobs.audio.types import JOINED, AudioFile, UnusableAudioError
from beam_jobs.audio.vorbis import VorbisFile, has_true_positions

# libsndfile's answer (SF_COUNT_MAX) where a header does not state a length.
_UNKNOWN_LENGTH = 2**63 - 1

# libsndfile reads a file as far as it goes, and mentions only in its log if its samples, or all of
# it, should be longer or shorter.
_STATED_SIZE = re.compile(
    r"^ *(data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_SIZES_OF_ALL = {"riff", "Riff size"}

# It mentions, too, if an AU file goes on where its header says that it ends.
_AU_SIZE = re.compile(
    r"^Length : (\d+)\n(?:\.snd|dns\.)\n  Data Offset : (\d+)\n  Data Size   : (\d+)\n",
    re.MULTILINE,
)
_PADDING_BYTES = 1024

# And it mentions nothing of CAF and of NIST's SPHERE files.
_UNLOGGED = {"CAF", "NIST"}

# Opus predicts from what it decoded before: in speech at low bit rates, samples are off by up to
# 0.01 of full scale for some seconds after a seek. In 400 ranges, none was still off after 8 s.
_OPUS_MEMORY_S = 16.0


def open_sndfile(source: str | BinaryIO, stack: contextlib.ExitStack) -> AudioFile | None:
    """Opens a file that libsndfile knows; MP3 and Ogg so that nothing of them is left out.

    Returns nothing where libsndfile does not find all of the sound, or not in its place: Layers I
    and II of MPEG, headers that state no length, and Vorbis whose pages are wrong about it.

    Args:
        source: a path on this machine, or an open file.
        stack: closes the file.

    Raises:
        soundfile.LibsndfileError: libsndfile does not know the file.
    """
    if not isinstance(source, str):
        source.seek(0)
    file = _open_sound(source, stack)
    if file.subtype == "MPEG_LAYER_III":
        return open_mp3(source, stack)
    if file.subtype.startswith("MPEG") or file.frames == _UNKNOWN_LENGTH:
        return None
    if file.format == "OGG":
        binary = open_binary(source, stack)
        streams = find_streams(binary)
        if file.subtype == "VORBIS" and not all(
            has_true_positions(binary, stream) for stream in streams
        ):
            return None
        if len(streams) > 1:
            parts = (ByteRange(binary, stream.start, stream.stop) for stream in streams)
            files = [stack.enter_context(soundfile.SoundFile(part)) for part in parts]
            return JoinedFile(
                [
                    _open_stream(one, binary, stream, stack)
                    for one, stream in zip(files, streams, strict=True)
                ]
            )
        if binary is source:
            binary.seek(0)
            file = stack.enter_context(soundfile.SoundFile(binary))
        if streams:
            return _open_stream(file, binary, streams[0], stack)
    return _with_exact_seeking(file)


def _open_sound(source: str | BinaryIO, stack: contextlib.ExitStack) -> soundfile.SoundFile:
    """Opens a file, with its true length if its header leaves that open."""
    try:
        file = stack.enter_context(soundfile.SoundFile(source))
    except soundfile.LibsndfileError:
        if (completed := with_true_length(open_binary(source, stack))) is None:
            raise
        return stack.enter_context(soundfile.SoundFile(completed))
    if file.frames or (completed := with_true_length(open_binary(source, stack))) is None:
        return file
    return stack.enter_context(soundfile.SoundFile(completed))


def _open_stream(
    file: soundfile.SoundFile, binary: BinaryIO, stream: Stream, stack: contextlib.ExitStack
) -> AudioFile:
    if file.subtype == "VORBIS" and stream.is_alone:
        return VorbisFile(file, binary, stream, stack)
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
        UnusableAudioError: the header states another length than the file's.
    """
    log = file.extra_info
    for name, *sizes in _STATED_SIZE.findall(log):
        stated, found = map(int, sizes)
        # What a file says of all of it may count its header or not.
        tolerance = _PADDING_BYTES if name in _SIZES_OF_ALL else 0
        if found + tolerance < stated < LENGTH_OF_A_PIPE:
            raise UnusableAudioError(
                f"ends early: {found} bytes of the {stated} that its header promises"
            )
        if name in _SIZES_OF_ALL and 0 < stated < found - tolerance:
            raise UnusableAudioError(JOINED)
    au_size = _AU_SIZE.search(log)
    if au_size and int(au_size[2]) + int(au_size[3]) < int(au_size[1]) - _PADDING_BYTES:
        raise UnusableAudioError(JOINED)
    if isinstance(file, soundfile.SoundFile) and file.format in _UNLOGGED:
        check_ending(file.name)


def check_end(file: AudioFile, frame: int) -> None:
    """Checks that a file that was read up to a frame, if that is its last, has no more audio.

    Raises:
        UnusableAudioError: it has, or another file follows.
    """
    if isinstance(file, soundfile.SoundFile) and file.format == "FLAC" and frame >= file.frames:
        flac.check_end(file.name, file.frames)


def _with_exact_seeking(file: soundfile.SoundFile) -> AudioFile:
    # After a seek in Vorbis, libsndfile may be at another frame than it says, so it never seeks.
    if file.subtype == "VORBIS":
        return SlowlySeekingFile(file, file.frames)
    if file.subtype == "OPUS":
        # Until it seeks, libsndfile begins with what encoders put before the sound if a stream is
        # not from 0, as of one that was copied from another container.
        if file.seekable():
            file.seek(0)
        return SlowlySeekingFile(file, round(_OPUS_MEMORY_S * file.samplerate))
    if not file.seekable():
        return SlowlySeekingFile(file)
    return cast(AudioFile, file)
