"""The common ground of the layouts of exported audio."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas.dataset import Dataset, Shard
from schemas.ledger import AudioFormat
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm

_ORDINALS = ("first", "second", "third", "fourth", "fifth")

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
        output: the folder of the export.
        layout_name: the name of the layout, as `--layout` has it.
        audio_format: `wav` or `flac`.
    """

    dataset_folder: str
    described: Dataset
    has_noise: bool
    output: str
    layout_name: str
    audio_format: AudioFormat

    def path(self, name: str) -> str:
        """Returns the path of a file of the export, from its path relative to the output."""
        return files.join(self.output, name)

    def progress_path(self, shard: Shard) -> str:
        """Returns the path of the list of a shard's mixtures, which is written last."""
        return self.path(f"{PROGRESS}/{shard}.jsonl")


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
    """

    name: str
    num_samples: int
    speakers: Sequence[str]
    genders: Sequence[str]
    offsets_s: Sequence[float]
    overlap_ratio: float


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
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A CSV of mixtures.

    Attributes:
        path: relative to the output.
        columns: the names of the columns.
        fields: returns the field of each column for a mixture.
    """

    path: str
    columns: Sequence[str]
    fields: Callable[[TableEntry], Sequence[object]]


class ExportLayout(Protocol):
    """A layout of exported audio: a module of this package. Paths are relative to the output."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """The name of the layout, for `--layout`."""

    def check(self, described: Dataset) -> None:
        """Fails on a dataset that can't be exported in this layout.

        Raises:
            UserError: it can't; the message says what to do.
        """

    def audio(self, mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
        """Yields the audio files of a mixture, int16, by their path without its suffix."""

    def texts(self, mixture: StoredMixture) -> Mapping[str, str]:
        """Returns the other files of a mixture, by their path."""

    def tables(self, export: Export, split: str) -> Sequence[Table]:
        """Returns the tables of a split."""

    def documents(self, export: Export) -> Mapping[str, str]:
        """Returns the files that describe the whole export, by their path."""


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


def source_names(described: Dataset) -> tuple[str, ...]:
    """Returns the names of the sources: instruments, or `first_speaker` and so on."""
    if described.instruments:
        return tuple(map(file_name, described.instruments))
    return tuple(f"{ordinal}_speaker" for ordinal in _ORDINALS[: described.num_sources])
