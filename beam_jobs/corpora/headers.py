"""Reads the header of an audio file, and says if the utterance in it can be used."""

import dataclasses
import os

from beam_jobs.audio.decoding import read_header
from beam_jobs.audio.types import AudioHeader, UnusableAudioError
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.own_outputs import find_writer
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from beam_jobs.storage.tree import is_stray
from schemas.errors import UserError
from schemas.recipe import Utterance

# Nothing shorter is speech. This is for files that are all but empty.
MIN_DURATION_S = 0.1

# Manifests round the end of a file, most of them to two decimals.
_ROUNDING_S = 0.011


def catalogue_utterance(
    corpus: Corpus, candidate: Candidate | Rejected, *, prefix_names: bool
) -> Utterance | Rejected:
    """Reads the header of a candidate's file.

    Args:
        corpus: that the candidate is from.
        candidate: as the corpus's layout describes it.
        prefix_names: whether the ids of utterance and speaker begin with the name of the corpus;
            without it they are unique within one corpus only.

    Returns:
        The utterance; or if it can't be used, or the layout has rejected it, the reason.
    """
    if isinstance(candidate, Rejected):
        return dataclasses.replace(candidate, path=_printable(candidate.path))
    path = files.join(corpus.root, candidate.path)
    try:
        _check_path(corpus, candidate)
        header = read_header(path)
        start, stop = _frames(candidate, header)
        if stop - start < MIN_DURATION_S * header.sample_rate:
            raise UnusableAudioError(f"shorter than {MIN_DURATION_S} s")
        channel = _channel(candidate, header)
    except UnusableAudioError as error:
        return Rejected(_printable(path), _printable(f"{error}{_named_in(candidate)}"))
    except (MemoryError, UserError):
        raise
    except Exception as error:
        # A retry may mend what goes wrong far away; here it is the file's own fault.
        if files.is_remote(path):
            raise
        rejected = Rejected.from_error(_printable(path), error)
        return dataclasses.replace(
            rejected, reason=_printable(f"{rejected.reason}{_named_in(candidate)}")
        )
    prefix = f"{corpus.name}/" if prefix_names else ""
    return Utterance(
        id=prefix + candidate.utterance,
        corpus=corpus.name,
        path=candidate.path,
        speaker=prefix + candidate.speaker,
        gender=candidate.gender,
        split=candidate.split,
        start=start,
        stop=stop,
        sample_rate=header.sample_rate,
        num_channels=header.num_channels,
        channel=channel,
        text=candidate.text,
        language=candidate.language,
    )


def _named_in(candidate: Candidate) -> str:
    return f": named in {candidate.origin}" if candidate.origin else ""


def _frames(candidate: Candidate, header: AudioHeader) -> tuple[int, int]:
    """Returns the first frame of a candidate's time range, and the one after its last.

    Raises:
        UnusableAudioError: the range leaves the file.
    """
    duration_s = header.num_frames / header.sample_rate
    stop_s = duration_s if candidate.stop_s is None else candidate.stop_s
    if candidate.start_s < 0 or max(candidate.start_s, stop_s - _ROUNDING_S) > duration_s:
        raise UnusableAudioError(
            f"a time range outside the file: {candidate.start_s:g} to {stop_s:g} s of"
            f" {duration_s:g} s"
        )
    stop = min(round(stop_s * header.sample_rate), header.num_frames)
    return round(candidate.start_s * header.sample_rate), stop


def _channel(candidate: Candidate, header: AudioHeader) -> int | None:
    """Returns the channel of the file to use; None for all of them, or the only one.

    Raises:
        UnusableAudioError: there is no such channel, or one is needed and not known.
    """
    if header.num_channels == 1 and (candidate.mono_is_channel or not candidate.channel):
        return None
    if candidate.channel is None:
        if candidate.needs_channel:
            raise UnusableAudioError(
                f"{header.num_channels} channels, and nothing says which one this is: give it where"
                " the others have theirs (in Kaldi's folders, reco2file_and_channel or the fifth"
                " field of segments), or store each channel as a file"
            )
        return None
    if candidate.channel >= header.num_channels:
        raise UnusableAudioError(
            f"no channel {candidate.channel}: the file has {header.num_channels}"
        )
    return candidate.channel


def _check_path(corpus: Corpus, candidate: Candidate) -> None:
    path = candidate.path
    if _printable(path) != path:
        raise UnusableAudioError("the file's name is not UTF-8: rename it")
    for name in (candidate.utterance, candidate.speaker):
        if _printable(name) != name:
            raise UnusableAudioError(f"a name with half a character in it: {_printable(name)}")
    if "\0" in path:
        raise UnusableAudioError("a NUL character in the file's name")
    # A manifest may name anything.
    if is_stray(path) and not candidate.origin:
        raise UnusableAudioError(
            "hidden, thrown away, or what a system leaves beside real files: remove it, or name its"
            " folder as a corpus"
        )
    # An absolute path is from a manifest, which may name files outside its folder.
    if files.is_remote(path) or files.is_remote(corpus.root) or os.path.isabs(path):
        return
    root = os.path.realpath(corpus.root)
    file = os.path.join(root, path.rstrip("/"))
    if os.path.realpath(file) != file:
        raise UnusableAudioError(
            "a link, or a path that leaves the corpus: copy what it points to into the corpus"
        )
    if path.endswith("/") and (writer := find_writer(os.listdir(file))):
        raise UnusableAudioError(
            f"what {writer} has written: if it is speech to mix, name this folder as a corpus"
        )


def _printable(path: str) -> str:
    """Returns a path that JSON and terminals can hold: bytes that are not UTF-8 are escaped."""
    return path.encode(errors="backslashreplace").decode()
