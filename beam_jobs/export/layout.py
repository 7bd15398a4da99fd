"""The common ground of the layouts of exported audio."""

import csv
import dataclasses
import hashlib
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas.dataset import Dataset, Shard
from schemas.ledger import AudioFormat
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm
from schemas.recipe import Recipe

DEGRADED = "degraded"
"""The name of what a mixture became on its transmission."""

ENROLMENT = "enrolment"
"""The end of the names of enrolments, behind those of the sources."""

_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth"),
    *("sixth", "seventh", "eighth", "ninth", "tenth"),
)

# Characters that some file system refuses in a name; names of dots are folders everywhere.
_UNSAFE = re.compile(r'^\.|[\x00-\x1f"%*/:<>?\\|]')

# File systems take 255; a suffix follows, and for a while what tells unfinished files.
_MAX_NAME_BYTES = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """An export of a dataset.

    Attributes:
        dataset_folder: the folder of the dataset.
        described: the content of its `dataset.json`.
        has_noise: its mixtures have noise.
        has_degraded: its mixtures went through channels of transmission.
        enrolment_samples: the length of the enrolment of each speaker; 0 without any.
        output: the folder of the export.
        layout_name: the name of the layout, as `--layout` has it.
        audio_format: `wav` or `flac`.
    """

    dataset_folder: str
    described: Dataset
    has_noise: bool
    has_degraded: bool
    enrolment_samples: int
    output: str
    layout_name: str
    audio_format: AudioFormat

    def path(self, name: str) -> str:
        """Returns the path of a file of the export, from its path relative to the output."""
        return files.join(self.output, name)

    @property
    def counts_folder(self) -> str:
        """The folder in which workers keep count of what they have done."""
        return self.path(PROGRESS)

    def progress_path(self, shard: Shard) -> str:
        """Returns the path of the list of a shard's mixtures, which is written last."""
        return self.path(f"{PROGRESS}/{shard}.jsonl")


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """An utterance in a mixture, as far as it is in it.

    Attributes:
        source: the row of the dataset's `sources`.
        start_s: its start in the mixture, in seconds.
        duration_s: its length in seconds, without the reverberation of a room.
        text: what is said; empty if only a part of the utterance is heard, or nobody has written it
            down.
        language: in which it is said, as the corpus spells it; empty if it is not known.
    """

    source: int
    start_s: float
    duration_s: float
    text: str
    language: str


@dataclasses.dataclass(frozen=True, slots=True)
class TableEntry:
    """A mixture whose files are written, for the tables that list it.

    Attributes:
        name: of its files or its folder.
        num_samples: its length.
        speakers: the id of each source's speaker.
        genders: of each speaker: `f`, `m` or `unknown`.
        offsets_s: the start of each source, in seconds.
        overlap_ratio: the time in which two or more sources sound over that in which any does.
        speech: what is said in each source, source by source.
    """

    name: str
    num_samples: int
    speakers: Sequence[str]
    genders: Sequence[str]
    offsets_s: Sequence[float]
    overlap_ratio: float
    speech: Sequence[Stretch]


def describe_mixture(mixture: StoredMixture) -> TableEntry:
    """Returns what tables say of a mixture."""
    recipe = mixture.recipe
    firsts = [row[0] for row in recipe.rows]
    return TableEntry(
        name=file_name(recipe.id),
        num_samples=len(mixture.mixture),
        speakers=tuple(source.speaker for source in firsts),
        # Never empty: pandas would make it a number, and TensorFlow refuses to mix it with text.
        genders=tuple(source.gender or "unknown" for source in firsts),
        offsets_s=recipe.offsets_s,
        overlap_ratio=round(recipe.overlap_ratio, 4),
        speech=_stretches(recipe),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A text file that lists mixtures.

    Attributes:
        path: relative to the output.
        lines: returns the lines of a mixture, each with its end.
        header: the lines above them.
    """

    path: str
    lines: Callable[[TableEntry], str]
    header: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ExportLayout:
    """A layout of exported audio, which has a module of this package. Paths are relative.

    Attributes:
        name: for `--layout`.
        audio_format: of its audio files, unless `--audio_format` names another.
        audio: yields the audio files of a mixture, int16, by their path without its suffix.
        check: raises a `UserError`, which says what to do, on a dataset that can't be exported so.
        texts: returns the other files of a mixture, by their path.
        archive: returns the path of the tar with the files of a shard; None leaves them in folders.
        tables: returns the tables of a split.
        documents: returns the files that describe the whole export, by their path.
    """

    name: str
    audio_format: AudioFormat
    audio: Callable[[StoredMixture, Dataset], Iterator[tuple[str, Pcm]]]
    check: Callable[[Dataset], None] = lambda _: None
    texts: Callable[[StoredMixture], Mapping[str, str]] = lambda _: {}
    archive: Callable[[Shard], str | None] = lambda _: None
    tables: Callable[[Export, str], Sequence[Table]] = lambda _, __: ()
    documents: Callable[[Export], Mapping[str, str]] = lambda _: {}


def all_audio(
    prefix: str, mixture: StoredMixture, described: Dataset, *, silent_rows: bool = False
) -> Iterator[tuple[str, Pcm]]:
    """Yields all audio of a mixture, each by its name behind a prefix.

    Args:
        prefix: of all names.
        mixture: has the audio.
        described: the dataset.
        silent_rows: whether to yield them, too.
    """
    sources = mixture.sources if silent_rows else mixture.own_sources
    yield f"{prefix}mixture", mixture.mixture
    for name, source in zip(source_names(described), sources, strict=False):
        yield f"{prefix}{name}", source
    if mixture.noise is not None:
        yield f"{prefix}noise", mixture.noise
    if mixture.degraded is not None:
        yield f"{prefix}{DEGRADED}", mixture.degraded
    if mixture.enrolments is not None:
        enrolments = mixture.enrolments[: len(sources)]
        for name, enrolment in zip(source_names(described), enrolments, strict=False):
            yield f"{prefix}{name}_{ENROLMENT}", enrolment


def file_name(name: str) -> str:
    """Returns a name for a file, different for each text.

    Unsafe characters are written as %XX, and the end of what is too long as a hash of all of it.
    """
    safe = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
    encoded = safe.encode(errors="surrogateescape")
    if len(encoded) <= _MAX_NAME_BYTES:
        return safe
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    beginning = encoded[: _MAX_NAME_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{beginning}-{digest}"


def csv_table(
    path: str, columns: Sequence[str], fields: Callable[[TableEntry], Sequence[object]]
) -> Table:
    """Returns a table with a row for each mixture, from its fields in the order of the columns."""
    return Table(path, lambda entry: csv_row(fields(entry)), header=csv_row(columns))


def speaker_fields(entry: TableEntry, num_sources: int) -> list[object]:
    """Returns the speaker, the gender and the offset of each of the first sources of a mixture.

    In a mixture of fewer, they are followed by those of silence, which has `silent` for a speaker.
    """
    own = zip(entry.speakers, entry.genders, entry.offsets_s, strict=True)
    silence = itertools.repeat(("silent", "unknown", 0.0))
    rows = itertools.islice(itertools.chain(own, silence), num_sources)
    return list(itertools.chain.from_iterable(rows))


def source_names(described: Dataset) -> tuple[str, ...]:
    """Returns the names of the sources: instruments, or `first_speaker` and so on."""
    if described.instruments:
        return tuple(map(file_name, described.instruments))
    return tuple(f"{ordinal}_speaker" for ordinal in _ORDINALS[: described.num_sources])


def csv_row(fields: Sequence[object]) -> str:
    """Returns a row of a table in CSV, with the end of its line."""
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow(fields)
    return row.getvalue()


def _stretches(recipe: Recipe) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(
            number,
            float(one.offset_s),
            float(stop_s - one.offset_s),
            one.text or "",
            one.language or "",
        )
        for number, utterances in enumerate(recipe.rows)
        for one in utterances
        # A mixture may end before its sources do.
        if (stop_s := min(one.offset_s + one.duration_s, recipe.duration_s)) > one.offset_s
    )
