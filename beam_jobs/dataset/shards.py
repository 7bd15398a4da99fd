"""Rendering and writing one shard of a dataset: its records, its recipes and its measurements."""

import contextlib
import gzip
import itertools
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import BinaryIO, cast

import google_crc32c

from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measurements import Measurements
from beam_jobs.recipes.plan import Draft, NoUtteranceLeftError, Plan
from beam_jobs.recipes.transmission import drawn_channel
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import (
    RenderedMixture,
    UnusablePartError,
    encode_mixture,
    render,
)
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.runtime.dead_letters import ReasonCounts, Rejected
from beam_jobs.storage import files
from schemas.dataset import Shard, ShardInfo
from schemas.errors import UserError
from schemas.recipe import Recipe, SimulatedRoom
from schemas.tfrecord import write_record

# TensorFlow's own level; higher ones take several times as long for one percent.
_GZIP_LEVEL = 6


# At least the mixtures that a table of the plan has.
_ANNOUNCED_AT_ONCE = 256

# Drawn mixtures are of files from everywhere: not one in a hundred is no coincidence.
_MAX_UNUSABLE_AT_FIRST = 100


class NothingUsableError(UserError):
    """Not one of many files can be used; the message has the most frequent reason."""


def render_shard(
    shard: Shard, plan: Plan, spec: DatasetSpec, reader: PartReader, scratch: Scratch
) -> Measurements:
    """Writes the records and the recipes of a shard, and after them its measurements.

    Args:
        shard: of the plan.
        plan: of the dataset.
        spec: the dataset.
        reader: of the files that its recipes name.
        scratch: memory that the next shard uses again.

    Raises:
        NothingUsableError: the first files of a shard can't be used.
    """
    measurements = Measurements()
    config = spec.plan_options.config
    path = files.join(spec.folder, shard.tfrecord(spec.dataset_name))
    with (
        files.write_atomically(files.join(spec.folder, shard.recipes)) as recipes,
        files.write_atomically(path) as shard_file,
    ):
        file = _ChecksummedFile(shard_file)
        num_mixtures = 0
        in_rooms: Counter[Hashable] = Counter()
        unusable: dict[int, Rejected] = {}
        with _compressed(file, spec.compression) as records:
            for draft in _announced(plan.drafts(shard), reader):
                try:
                    mixture, entries = render_usable(
                        draft, plan, spec, reader, scratch, unusable, is_first=not num_mixtures
                    )
                except NoUtteranceLeftError:
                    # The report counts the missing mixtures.
                    continue
                write_record(records, encode_mixture(mixture))
                _write_line(recipes, mixture.recipe)
                measurements.record_uses(shard.split, entries[: len(mixture.recipe.sources)])
                measurements.measure(mixture)
                if config.transmission is not None:
                    number = drawn_channel(
                        len(config.transmission), spec.plan_options.seed, mixture.recipe.id
                    )
                    measurements.record_channel(number)
                if isinstance(room := mixture.recipe.sources[0].room, SimulatedRoom):
                    in_rooms[room.size_m, room.rt60_s, room.microphone_m] += 1
                num_mixtures += 1
    measurements.record_rooms(in_rooms.values())
    measurements.rejected.update(unusable.values())
    measurements.infos.append(ShardInfo(shard, num_mixtures, file.num_bytes, file.crc32c))
    files.write_text(spec.measurements_path(shard), measurements.to_json())
    return measurements


def render_usable(
    draft: Draft,
    plan: Plan,
    spec: DatasetSpec,
    reader: PartReader,
    scratch: Scratch,
    unusable: dict[int, Rejected],
    *,
    is_first: bool,
) -> tuple[RenderedMixture, tuple[int, ...]]:
    """Renders a mixture, replacing files that can't be used by others.

    Args:
        draft: the planned mixture.
        plan: finds the replacements.
        spec: has the folders of the corpora.
        reader: of the files.
        scratch: gets the audio.
        unusable: the entries of the catalogue that can't be used, which are not tried again; those
            that this mixture tries are added.
        is_first: whether no mixture could be rendered so far.

    Returns:
        The mixture, and the entry of the catalogue of each part of its recipe.

    Raises:
        NoUtteranceLeftError: the split has too few utterances that can be used.
        NothingUsableError: a hundred files of the first mixture can't be used.
    """
    while True:
        usable = (
            draft if unusable.keys().isdisjoint(draft.entries) else plan.redraft(draft, unusable)
        )
        try:
            return render(usable.recipe, reader, scratch), usable.entries
        except UnusablePartError as error:
            path = files.join(spec.corpus_roots[error.part.corpus], error.part.path)
            unusable[usable.entries[error.index]] = Rejected(path, error.reason)
        # Given recipes are in the order of their files, which may begin with the bad ones.
        if is_first and spec.given is None and len(unusable) >= _MAX_UNUSABLE_AT_FIRST:
            raise NothingUsableError(
                f"not one of the first {len(unusable)} files could be used:"
                f" {ReasonCounts(unusable.values()).describe()}: mend these files or leave them out"
            )


def _announced(drafts: Iterator[Draft], reader: PartReader) -> Iterator[Draft]:
    """Yields drafts, and tells the reader beforehand which utterances some of them share."""
    while announced := list(itertools.islice(drafts, _ANNOUNCED_AT_ONCE)):
        reader.announce([draft.recipe for draft in announced])
        yield from announced


def write_shard_recipes(shard: Shard, plan: Plan, spec: DatasetSpec) -> None:
    """Writes the recipes of a shard as they are planned, without rendering them."""
    with files.write_atomically(files.join(spec.folder, shard.recipes)) as recipes:
        for draft in plan.drafts(shard):
            _write_line(recipes, draft.recipe)


def _write_line(file: BinaryIO, recipe: Recipe) -> None:
    file.write(recipe.to_json().encode() + b"\n")


class _ChecksummedFile:
    """A file with the length and the checksum of everything written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self.num_bytes = 0

    def write(self, data: bytes) -> int:
        self._crc = google_crc32c.extend(self._crc, data)
        self.num_bytes += len(data)
        return self._file.write(data)

    @property
    def crc32c(self) -> str:
        return f"{self._crc:08x}"


@contextlib.contextmanager
def _compressed(file: _ChecksummedFile, compression: str) -> Iterator[BinaryIO]:
    if compression == "GZIP":
        # A name or a time in the header would make two shards of the same content differ.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, cast(BinaryIO, file), mtime=0) as compressed:
            yield cast(BinaryIO, compressed)
    else:
        yield cast(BinaryIO, file)
