"""What the layouts of exported audio have in common."""

import dataclasses
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

# What no file system, or not every one, takes in a name; a name of dots is a folder everywhere.
_UNSAFE = re.compile(r'^\.|[\x00-\x1f"%*/:<>?\\|]')


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """A dataset that is exported, and how.

    Attributes:
        dataset_folder: the dataset's.
        described: the content of its `dataset.json`.
        has_noise: whether its mixtures have noise.
        output: the folder of the export.
        layout_name: of the layout, as `--layout` has it.
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
class ExportedMixture:
    """A mixture whose files are written.

    Attributes:
        name: of its files or its folder.
        num_samples: its length.
    """

    name: str
    num_samples: int


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A CSV of mixtures.

    Attributes:
        path: relative to the output.
        columns: their names.
        row: the fields of a mixture.
    """

    path: str
    columns: Sequence[str]
    row: Callable[[ExportedMixture], Sequence[object]]


class ExportLayout(Protocol):
    """A module of this package."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """What `--layout` calls it."""

    def check(self, described: Dataset) -> None:
        """Sees that a dataset can lie this way.

        Raises:
            UserError: it can't; the message says what to do.
        """

    def audio(self, mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
        """Yields the audio files of a mixture: path relative to the output, without its suffix."""

    def texts(self, mixture: StoredMixture) -> Mapping[str, str]:
        """The other files of a mixture."""

    def tables(self, export: Export, split: str) -> Sequence[Table]:
        """The tables of a split."""

    def documents(self, export: Export) -> Mapping[str, str]:
        """The files that there is one of, by their path relative to the output."""


def file_name(name: str) -> str:
    """A name for a file, another one for each text: what can't be in one is written as %XX."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)


def source_names(described: Dataset) -> tuple[str, ...]:
    """What the sources are called: instruments, or `first_speaker` and so on."""
    if described.instruments:
        return tuple(map(file_name, described.instruments))
    return tuple(f"{ordinal}_speaker" for ordinal in _ORDINALS[: described.num_sources])
