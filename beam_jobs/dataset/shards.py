"""DatasetSpec the shards of a dataset: one element of the pipeline is one shard.

Audio never passes from one step of the pipeline to the next; what passes is the name of a shard,
and what was measured of it.
"""

import contextlib
import gzip
from collections.abc import Iterator
from typing import BinaryIO, cast

import google_crc32c

from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measures import Quality
from beam_jobs.recipes.plan import Draft, NoUtteranceLeftError, Plan
from beam_jobs.rendering.render import Mixture, Scratch, UnusableSourceError, encode_mixture, render
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.dataset import Shard, ShardInfo
from schemas.recipe import Recipe
from schemas.tfrecord import write_record

# TensorFlow's own; higher levels take several times as long for a percent.
_GZIP_LEVEL = 6


def render_shard(shard: Shard, plan: Plan, spec: DatasetSpec, scratch: Scratch) -> Quality:
    """Writes the recipes and the records of a shard, and then what was measured of them."""
    quality = Quality()
    path = files.join(spec.folder, shard.tfrecord(spec.dataset_name))
    with (
        files.write_atomically(files.join(spec.folder, shard.recipes)) as recipes,
        files.write_atomically(path) as shard_file,
    ):
        file = _ChecksummedFile(shard_file)
        num_mixtures = 0
        unusable: dict[int, Rejected] = {}
        with _compressed(file, spec.compression) as records:
            for draft in plan.drafts(shard):
                try:
                    mixture, rows = render_usable(draft, plan, spec, scratch, unusable)
                except NoUtteranceLeftError:
                    # The report counts what is missing.
                    continue
                write_record(records, encode_mixture(mixture))
                _write_line(recipes, mixture.recipe)
                quality.count_uses(shard.split, rows[: len(mixture.recipe.sources)])
                quality.measure(mixture)
                num_mixtures += 1
    quality.rejected.update(unusable.values())
    quality.infos.append(ShardInfo(shard, num_mixtures, file.num_bytes, file.crc32c))
    files.write_text(spec.quality_path(shard), quality.to_json())
    return quality


def render_usable(
    draft: Draft,
    plan: Plan,
    spec: DatasetSpec,
    scratch: Scratch,
    unusable: dict[int, Rejected],
) -> tuple[Mixture, tuple[int, ...]]:
    """Renders a mixture, with other files in place of those that can't be used.

    Args:
        draft: who is in it.
        plan: where others are found.
        spec: where the corpora are.
        scratch: where the audio is put.
        unusable: the rows of the catalogue that can't be used are added to it; those that the
            mixtures before it had in vain are not tried again.

    Returns:
        The mixture, and the rows of the catalogue that its utterances are in.

    Raises:
        NoUtteranceLeftError: the split has too few utterances that can be used.
    """
    while True:
        usable = (
            draft if unusable.keys().isdisjoint(draft.part_rows) else plan.redraft(draft, unusable)
        )
        try:
            return render(plan.recipe(usable), spec.corpus_roots, scratch), usable.rows
        except UnusableSourceError as error:
            path = files.join(spec.corpus_roots[error.source.corpus], error.source.path)
            unusable[usable.part_rows[error.index]] = Rejected(path, error.reason)


def _write_line(file: BinaryIO, recipe: Recipe) -> None:
    file.write(recipe.to_json().encode() + b"\n")


class _ChecksummedFile:
    """A file that knows the length and the checksum of what was written to it."""

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
        # No name and no time in the header: they would make two shards of the same content differ.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, cast(BinaryIO, file), mtime=0) as compressed:
            yield cast(BinaryIO, compressed)
    else:
        yield cast(BinaryIO, file)
