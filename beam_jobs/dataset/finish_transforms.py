"""Finishing a dataset: its descriptions, its report, and last of all `COMPLETED`."""

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection

from beam_jobs.corpora.catalogue import open_catalogue
from beam_jobs.dataset.folder import remove_leftovers
from beam_jobs.dataset.reading import read_mixtures
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.document import Uses, quality_document
from beam_jobs.quality.expectations import asked_documents
from beam_jobs.quality.measures import Quality
from beam_jobs.runtime.dead_letters import read_rejected, write_rejected
from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import SPLITS, Dataset, ShardInfo
from schemas.recipe import Source, num_channels

_NUM_EXAMPLES = 12
# All in one page, it has to stay one that opens.
_MAX_EXAMPLES_S = 600.0


class _MergeQualities(beam.CombineFn):
    """Adds up what was measured of all shards.

    The uses are added up into an array for each split, by row of the catalogue: a number for each
    utterance is little, where a dictionary of millions of them is not.
    """

    def create_accumulator(self) -> tuple[Quality, Uses]:
        """Nothing yet."""
        return Quality(), {}

    def add_input(
        self, mutable_accumulator: tuple[Quality, Uses], element: Quality
    ) -> tuple[Quality, Uses]:
        """Adds one shard."""
        uses = {split: np.bincount(rows) for split, rows in element.uses.items()}
        without_uses = dataclasses.replace(element, uses={})
        return self.merge_accumulators([mutable_accumulator, (without_uses, uses)])

    def merge_accumulators(
        self, accumulators: Sequence[tuple[Quality, Uses]]
    ) -> tuple[Quality, Uses]:
        """Adds several shards."""
        merged, merged_uses = self.create_accumulator()
        for quality, uses in accumulators:
            merged.merge(quality)
            for split, counts in uses.items():
                before = merged_uses.get(split, np.zeros(0, np.int64))
                total = np.zeros(max(len(before), len(counts)), np.int64)
                total[: len(before)] += before
                total[: len(counts)] += counts
                merged_uses[split] = total
        return merged, merged_uses

    def extract_output(self, accumulator: tuple[Quality, Uses]) -> tuple[Quality, Uses]:
        """The sums."""
        return accumulator


class FinishDataset(beam.PTransform[PCollection[Quality], PCollection[dict[str, Any]]]):
    """Writes everything that is not a shard. Input: `Quality`. Output: the quality document."""

    def __init__(self, spec: DatasetSpec, *, version: str, command: Sequence[str]) -> None:
        """Makes the transform.

        Args:
            spec: the dataset.
            version: of the dataset, as TensorFlow Datasets has it.
            command: the command line, for the report.
        """
        self._spec = spec
        self._version = version
        self._command = command

    def expand(self, qualities: PCollection[Quality]) -> PCollection[dict[str, Any]]:
        """Adds up what was measured of all shards, and finishes the dataset once."""
        document: PCollection[dict[str, Any]] = (
            qualities
            | "MergeQualities" >> beam.CombineGlobally(_MergeQualities())  # type: ignore[no-untyped-call]
            | "WriteDocuments"
            >> beam.ParDo(_FinishDataset(self._spec, version=self._version, command=self._command))
        )
        return document


class _FinishDataset(beam.DoFn):
    """Writes everything that is not a shard. Input: the merged quality. Output: its document."""

    def __init__(self, spec: DatasetSpec, *, version: str, command: Sequence[str]) -> None:
        self._spec = spec
        self._version = version
        self._command = shlex.join(command)

    def process(self, element: tuple[Quality, Uses]) -> Iterator[dict[str, Any]]:
        """Finishes the dataset, unless there is not one mixture in it."""
        quality, uses = element
        spec = self._spec
        config = spec.plan_options.config
        rejected_path = files.join(spec.folder, dataset.REJECTED)
        rejected = sorted(quality.rejected | set(read_rejected(rejected_path)))
        write_rejected(rejected_path, rejected)
        splits_made = {info.shard.split for info in quality.infos if info.num_mixtures}
        if not splits_made:
            return
        infos = [info for info in quality.infos if info.shard.split in splits_made]
        described = Dataset(
            spec.dataset_name,
            config.sample_rate,
            config.num_speakers,
            cast(Literal["", "GZIP"], spec.compression),
            tuple(sorted(infos, key=_shard_order)),
            num_channels=num_channels(config.channels),
            instruments=spec.instruments,
            mixture_given=spec.mixture_given,
        )
        catalogue = open_catalogue(files.join(spec.folder, dataset.CATALOGUE))
        missing = sum(spec.open_plan().counts.values()) - sum(info.num_mixtures for info in infos)
        speech = catalogue.rows_outside(spec.plan_options.sounds.values())
        genders = catalogue.genders(speech)
        asked = [] if spec.given else asked_documents(quality, config, genders)
        document = quality_document(
            quality,
            uses,
            described,
            config.description,
            asked,
            catalogue,
            rejected,
            missing,
            self._command,
        )
        report = _render_report(document, _read_examples(spec.folder, described))

        def write(name: str, text: str) -> None:
            files.write_text(files.join(spec.folder, name), text)

        write(
            dataset.FEATURES,
            _json(
                dataset.features_document(
                    config.num_speakers,
                    described.num_channels,
                    noise=spec.has_noise,
                    rooms=spec.has_rooms,
                )
            ),
        )
        write(
            dataset.DATASET_INFO,
            _json(dataset.dataset_info_document(described, self._version, config.description)),
        )
        write(dataset.QUALITY, _json(document))
        write(dataset.REPORT, report)
        described = dataclasses.replace(
            described,
            files={
                name: files.checksum(files.join(spec.folder, name))[1]
                for name in dataset.CHECKSUMMED
            },
        )
        write(dataset.DATASET, described.to_json())
        write(dataset.COMPLETED, described.completed)
        remove_leftovers(spec.folder)
        yield document


def _read_examples(folder: str, described: Dataset) -> list[Any]:
    """A dozen mixtures, or fewer long ones: the first ones of shards of all splits."""
    from beam_jobs.quality.page import Example  # noqa: PLC0415

    shards = [
        [info for info in described.split_shards(split) if info.num_mixtures] for split in SPLITS
    ]
    in_turn = [
        split_shards[index]
        for index in range(_NUM_EXAMPLES)
        for split_shards in shards
        if index < len(split_shards)
    ]
    examples: list[Any] = []
    shown_s = 0.0
    for info in in_turn[:_NUM_EXAMPLES]:
        stored = next(read_mixtures(folder, described, info))
        recipe = stored.recipe
        shown_s += recipe.duration_s
        if examples and shown_s > _MAX_EXAMPLES_S:
            break
        examples.append(
            Example(
                id=recipe.id,
                split=recipe.split,
                sample_rate=recipe.sample_rate,
                mixture=stored.mixture,
                sources=stored.sources,
                noise=stored.noise,
                speakers=tuple(row[0].speaker for row in recipe.rows),
                placed_s=tuple(map(_placed_s, recipe.rows)),
                gains_db=stored.gains_db,
            )
        )
    return examples


def _placed_s(row: Sequence[Source]) -> tuple[tuple[float, float], ...]:
    """Where the utterances of a row are in a mixture, but for those that were cut away."""
    placed = [(one.offset_s, one.offset_s + one.duration_s) for one in row if one.stop > one.start]
    return tuple(placed) or ((0.0, 0.0),)


def _render_report(document: Mapping[str, Any], examples: list[Any]) -> str:
    # Matplotlib takes half a second to import: only the worker that draws pays for it.
    from beam_jobs.quality.page import render_report  # noqa: PLC0415

    return render_report(document, examples)


def _shard_order(info: ShardInfo) -> tuple[int, int]:
    return dataset.SPLITS.index(cast(dataset.Split, info.shard.split)), info.shard.index


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
