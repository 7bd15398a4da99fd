"""Kaldi's data folders: `wav.scp`, `utt2spk`, and if there are any, `segments` and `spk2gender`.

`text` has what is said, and `utt2lang` the language.

Where several speakers have a channel each, `reco2file_and_channel` says which, or the fifth field
of `segments`.

Source: https://kaldi-asr.org/doc/data_prep.html, and extract-segments.cc for the fifth field.
"""

import dataclasses
import itertools
import posixpath
from collections.abc import Iterator, Mapping, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, parse_gender
from beam_jobs.corpora.manifest import (
    BadLineError,
    corpus_path,
    read_candidates,
    read_lines,
    seconds_field,
    shown,
)
from beam_jobs.corpora.transcripts import read_list
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "kaldi"
LICENSES: tuple[str, ...] = ()

# Kaldi's extract-segments takes it for the end of the recording.
_TO_THE_END = -1

_LETTERS = {letter: index for index, letter in enumerate("ABCDEFGH")}


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether there is a `wav.scp`."""
    del sampled_paths
    if corpus.manifest:
        return corpus.manifest == "wav.scp"
    return not corpus.pattern and files.exists(files.join(corpus.root, "wav.scp"))


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance, under its own id."""
    speakers = _read_table(corpus, "utt2spk")
    genders = _read_table(corpus, "spk2gender")
    languages = _read_table(corpus, "utt2lang")
    channels = _read_table(corpus, "reco2file_and_channel")
    transcripts = read_list(files.join(corpus.root, "text"))
    # Sides of a call are numbered from 1, unless one is number 0.
    first_channel = 0 if any(row.split()[-1] == "0" for row in channels.rows.values()) else 1

    def check_speaker(line: str) -> None:
        utterance = line.split(maxsplit=1)[0]
        if not speakers.has(utterance):
            raise BadLineError(f"utterance {utterance!r} has no speaker in utt2spk")

    def candidate(
        utterance: str,
        recording: str,
        path: str,
        start_s: float = 0.0,
        stop_s: float | None = None,
        channel: int | None = None,
    ) -> Candidate:
        if path.endswith("|"):
            raise BadLineError(
                "a pipe, and commands from data are not run: write what it gives into a file, as"
                " wav-copy does"
            )
        of_recording = channels.rows.get(recording) if channel is None else None
        if of_recording is not None:
            channel = _parse_channel(of_recording.split()[-1], first_channel)
        speaker = speakers.find(utterance)
        return Candidate(
            corpus_path(corpus, path),
            utterance,
            speaker,
            parse_gender(genders.rows.get(speaker, "")),
            start_s=start_s,
            stop_s=stop_s,
            channel=channel,
            mono_is_channel=of_recording is not None,
            needs_channel=True,
            text=transcripts.texts.get(utterance),
            language=languages.rows.get(utterance),
        )

    def parse_recording(line: str) -> Iterator[Candidate]:
        check_speaker(line)
        recording, path = _fields(line, 2)
        yield candidate(recording, recording, path)

    recordings = _read_table(corpus, "wav.scp")

    def parse_segment(line: str) -> Iterator[Candidate]:
        check_speaker(line)
        utterance, recording, start, stop, *channel = _fields(line, 4, 5)
        if not recordings.has(recording):
            raise BadLineError(f"recording {recording!r} is not in wav.scp")
        times = {"start": start, "end": stop}
        start_s, stop_s = seconds_field(times, "start"), seconds_field(times, "end")
        if stop_s != _TO_THE_END and stop_s <= start_s:
            raise BadLineError(f"a time range that ends before it starts: {start} to {stop} s")
        yield candidate(
            utterance,
            recording,
            recordings.find(recording),
            start_s,
            None if stop_s == _TO_THE_END else stop_s,
            _parse_channel(channel[0], first=0) if channel else None,
        )

    tables = [speakers, genders, languages, channels]
    segments_path = files.join(corpus.root, "segments")
    if files.exists(segments_path):
        tables.append(recordings)
        found = read_candidates(segments_path, parse_segment)
        unused = [speakers.unused("segments"), recordings.unused("segments")]
    else:
        found = read_candidates(files.join(corpus.root, "wav.scp"), parse_recording)
        unused = [speakers.unused("wav.scp")]
    bad_lines = (bad for table in tables for bad in table.rejected)
    return itertools.chain(bad_lines, transcripts.rejected, found, *unused)


@dataclasses.dataclass(frozen=True, slots=True)
class _Table:
    """A file with a key and a value in each line.

    Attributes:
        path: of the file.
        rows: the values by their keys.
        ambiguous: the keys that have several values.
        rejected: the lines without a value.
        used: the keys that other files name.
    """

    path: str
    rows: Mapping[str, str]
    ambiguous: frozenset[str]
    rejected: Sequence[Rejected]
    used: set[str] = dataclasses.field(default_factory=set)

    def has(self, key: str) -> bool:
        """Returns whether there is a value for a key that another file names."""
        self.used.add(key)
        return key in self.rows

    def find(self, key: str) -> str:
        """Returns the value of a key that is there.

        Raises:
            BadLineError: the key has several values.
        """
        if key in self.ambiguous:
            name = posixpath.basename(self.path)
            raise BadLineError(f"{key!r} is in {name} with different values")
        return self.rows[key]

    def unused(self, user: str) -> Iterator[Rejected]:
        """Yields one dead letter for all keys that another file should name and does not."""
        unused = sorted(self.rows.keys() - self.used)
        if unused:
            yield Rejected(
                self.path,
                f"entries that {user} does not name: {len(unused):,}, such as {unused[0]!r}",
            )


def _read_table(corpus: Corpus, name: str) -> _Table:
    """Reads a value for the first word of each line; nothing if there is no such file."""
    path = files.join(corpus.root, name)
    rows: dict[str, str] = {}
    ambiguous = set()
    rejected = []
    for number, line in enumerate(read_lines(path) if files.exists(path) else (), 1):
        fields = line.split(maxsplit=1)
        if len(fields) == 2:
            value = fields[1].strip()
            if rows.setdefault(fields[0], value) != value:
                ambiguous.add(fields[0])
        elif fields:
            rejected.append(Rejected(f"{path}:{number}", "1 fields where 2 belong"))
    return _Table(path, rows, frozenset(ambiguous), rejected)


def _parse_channel(text: str, first: int) -> int:
    """Returns the number of a channel, from 0.

    Args:
        text: a letter, or a number.
        first: the number of the first channel.

    Raises:
        BadLineError: there is no such channel.
    """
    if text in _LETTERS:
        return _LETTERS[text]
    if not (text.isascii() and text.isdecimal()) or int(text) < first:
        raise BadLineError(f"not a channel: {shown(text)}: they are A and B, or {first} and up")
    return int(text) - first


def _fields(line: str, *counts: int) -> list[str]:
    fields = line.split(maxsplit=1) if counts == (2,) else line.split()
    if len(fields) not in counts:
        raise BadLineError(f"{len(fields)} fields where {' or '.join(map(str, counts))} belong")
    return [field.strip() for field in fields]
