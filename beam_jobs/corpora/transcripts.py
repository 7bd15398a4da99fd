"""Transcripts that a corpus keeps beside its audio, in lists or in a file for each utterance."""

import concurrent.futures
import dataclasses
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from beam_jobs.corpora.manifest import BadLineError, check_line, transcript
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files, text

# A request to Cloud Storage takes 50 ms, of which a worker spends hardly any.
_NUM_READERS = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Transcripts:
    """Some transcripts of a corpus.

    Attributes:
        texts: what is said in each utterance, by its id; utterances of which nothing is known are
            missing.
        rejected: the lines and files that can't be used.
    """

    texts: Mapping[str, str]
    rejected: Sequence[Rejected]


def read_list(path: str) -> Transcripts:
    """Reads a list with an id and what is said in each line; a missing file is an empty one."""
    texts: dict[str, str] = {}
    ambiguous = set()
    rejected: list[Rejected] = []
    for number, line in enumerate(_read_lines(path, rejected), 1):
        name, *rest = line.split(maxsplit=1) or [""]
        try:
            spoken = _check(line, rest[0] if rest else "")
        except BadLineError as error:
            rejected.append(Rejected(f"{path}:{number}", str(error)))
            continue
        if spoken and texts.setdefault(name, spoken) != spoken:
            rejected.append(Rejected(f"{path}:{number}", f"another transcript of {name!r}"))
            ambiguous.add(name)
    for name in ambiguous:
        del texts[name]
    return Transcripts(texts, rejected)


def read_files(paths: Mapping[str, str]) -> Transcripts:
    """Reads the transcripts of utterances that have a file each.

    Args:
        paths: of the files, some of which may be missing, by the ids of the utterances.
    """
    texts: dict[str, str] = {}
    rejected: list[Rejected] = []
    for name, path in paths.items():
        content = "".join(_read_lines(path, rejected))
        try:
            if spoken := _check(content, content):
                texts[name] = spoken
        except BadLineError as error:
            rejected.append(Rejected(path, str(error)))
    return Transcripts(texts, rejected)


def read_by_folder(
    audio_paths: Iterable[str], read: Callable[[Sequence[str]], Transcripts]
) -> Iterator[tuple[Sequence[str], Transcripts]]:
    """Reads the transcripts of one folder after the other, some folders ahead.

    Args:
        audio_paths: of a corpus; those in one folder are next to each other.
        read: reads the transcripts of the audio in a folder, given its paths.

    Yields:
        The paths of the audio in a folder, and their transcripts.
    """
    folders = (list(paths) for _, paths in itertools.groupby(audio_paths, key=os.path.dirname))
    with concurrent.futures.ThreadPoolExecutor(_NUM_READERS) as readers:
        begun: deque[tuple[Sequence[str], concurrent.futures.Future[Transcripts]]] = deque()
        for paths in folders:
            begun.append((paths, readers.submit(read, paths)))
            if len(begun) > _NUM_READERS:
                first, reading = begun.popleft()
                yield first, reading.result()
        for first, reading in begun:
            yield first, reading.result()


def _read_lines(path: str, rejected: list[Rejected]) -> Iterator[str]:
    """Yields the lines of a file, if there is such a file; one that is no text is rejected."""
    try:
        yield from text.read_lines(path, unchecked=True)
    except FileNotFoundError:
        return
    except (text.TextError, OSError) as error:
        # A retry may mend what goes wrong far away.
        if isinstance(error, OSError) and files.is_remote(path):
            raise
        rejected.append(Rejected(path, str(error)))


def _check(line: str, spoken: str) -> str | None:
    check_line(line)
    if text.escape(line) != line:
        raise BadLineError("a transcript that is not UTF-8: save the file as UTF-8")
    return transcript("text", spoken)
