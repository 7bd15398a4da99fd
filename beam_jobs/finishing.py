"""Finishing a dataset: its descriptions, its report, and last of all `COMPLETED`."""

import dataclasses
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from beam_jobs import files
from beam_jobs.asked import asked_documents
from beam_jobs.catalogue import Catalogue, open_catalogue
from beam_jobs.dataset_folder import remove_leftovers
from beam_jobs.quality import Quality, use_document
from beam_jobs.rejected import Rejected, read_rejected, write_rejected
from beam_jobs.shards import Rendering
from beam_jobs.stored_mixtures import read_mixtures
from schemas import dataset
from schemas.dataset import SPLITS, Dataset, ShardInfo
from schemas.recipe import Source, num_channels

_NUM_EXAMPLES = 12
# All in one page, it has to stay one that opens.
_MAX_EXAMPLES_S = 600.0

Uses = dict[str, npt.NDArray[np.int64]]


class MergeQualities(beam.CombineFn):
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


class FinishDataset(beam.DoFn):
    """Writes everything that is not a shard. Input: the merged quality. Output: its document."""

    def __init__(self, rendering: Rendering, *, version: str, command: Sequence[str]) -> None:
        self._rendering = rendering
        self._version = version
        self._command = shlex.join(command)

    def process(self, element: tuple[Quality, Uses]) -> Iterator[dict[str, Any]]:
        """Finishes the dataset, unless there is not one mixture in it."""
        quality, uses = element
        rendering = self._rendering
        config = rendering.plan_options.config
        rejected_path = files.join(rendering.folder, dataset.REJECTED)
        rejected = sorted(quality.rejected | set(read_rejected(rejected_path)))
        write_rejected(rejected_path, rejected)
        splits_made = {info.shard.split for info in quality.infos if info.num_mixtures}
        if not splits_made:
            return
        infos = [info for info in quality.infos if info.shard.split in splits_made]
        described = Dataset(
            rendering.dataset_name,
            config.sample_rate,
            config.num_speakers,
            cast(Literal["", "GZIP"], rendering.compression),
            tuple(sorted(infos, key=_shard_order)),
            num_channels=num_channels(config.channels),
            instruments=rendering.instruments,
            mixture_given=rendering.mixture_given,
        )
        catalogue = open_catalogue(files.join(rendering.folder, dataset.CATALOGUE))
        missing = sum(rendering.open_plan().counts.values()) - sum(
            info.num_mixtures for info in infos
        )
        speech = catalogue.rows_outside(rendering.plan_options.sounds.values())
        genders = catalogue.genders(speech)
        asked = [] if rendering.given else asked_documents(quality, config, genders)
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
        report = _render_report(document, _read_examples(rendering.folder, described))

        def write(name: str, text: str) -> None:
            files.write_text(files.join(rendering.folder, name), text)

        write(
            dataset.FEATURES,
            _json(
                dataset.features_document(
                    config.num_speakers,
                    described.num_channels,
                    noise=rendering.has_noise,
                    rooms=rendering.has_rooms,
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
                name: files.checksum(files.join(rendering.folder, name))[1]
                for name in dataset.CHECKSUMMED
            },
        )
        write(dataset.DATASET, described.to_json())
        write(dataset.COMPLETED, described.completed)
        remove_leftovers(rendering.folder)
        yield document


def quality_document(
    quality: Quality,
    uses: Uses,
    described: Dataset,
    description: str,
    asked: Sequence[Mapping[str, str]],
    catalogue: Catalogue,
    rejected: Sequence[Rejected],
    missing_mixtures: int,
    command: str,
) -> dict[str, Any]:
    """The content of `quality.json`.

    Args:
        quality: of all shards.
        uses: how often each row of the catalogue is used, in each split.
        described: the dataset.
        description: of its recipes.
        asked: what was asked for beside what came of it.
        catalogue: the utterances.
        rejected: the files that could not be used.
        missing_mixtures: how many of those planned are not there.
        command: what the dataset was built with.
    """
    splits = [split for split in SPLITS if split in uses]
    speaker_uses: Uses = {
        split: np.bincount(
            catalogue.speakers[: len(uses[split])],
            weights=uses[split],
            minlength=len(catalogue.speaker_names),
        ).astype(np.int64)
        for split in splits
    }
    reasons = Counter(_without_details(one.reason) for one in rejected)
    split_documents = {
        split: _split_document(
            described.split_shards(split),
            quality.samples[split] / described.sample_rate / 3600,
            num_speakers=int((speaker_uses[split] > 0).sum()),
            num_utterances=int((uses[split] > 0).sum()),
        )
        for split in splits
    }
    return {
        "version": 1,
        "name": described.name,
        "description": description,
        "command": command,
        "sample_rate": described.sample_rate,
        "num_speakers": described.num_sources,
        **{
            total: sum(document[total] for document in split_documents.values())
            for total in ("num_mixtures", "num_shards", "mixture_hours")
        },
        "splits": split_documents,
        "use": {
            split: {
                "utterances": use_document(uses[split][uses[split] > 0].tolist()),
                "speakers": use_document(speaker_uses[split][speaker_uses[split] > 0].tolist()),
            }
            for split in splits
        },
        "histograms": quality.histogram_documents(),
        **_checks_document(quality, uses, speaker_uses, described, missing_mixtures),
        "rejected": {"total": len(rejected), "by_reason": dict(reasons.most_common())},
        "asked": list(asked),
    }


def _checks_document(
    quality: Quality, uses: Uses, speaker_uses: Uses, described: Dataset, missing_mixtures: int
) -> dict[str, Any]:
    """What has to be 0, and where mixtures are given, what they are like instead."""
    if not described.mixture_given:
        return {
            "checks": {
                "max_sum_error": quality.max_sum_error,
                "speakers_in_two_splits": _num_in_two_splits(speaker_uses),
                "clipped_samples": quality.clipped_samples,
                "missing_mixtures": missing_mixtures,
                "silent_sources": quality.silent_sources,
            }
        }
    return {
        "checks": {
            "stems_in_two_splits": _num_in_two_splits(uses),
            "missing_mixtures": missing_mixtures,
        },
        "given_mixtures": {
            "instruments": list(described.instruments),
            "exact": quality.exact_mixtures,
            "silent_sources": quality.silent_sources,
            "full_scale_samples": quality.clipped_samples,
            "worst": [
                {"id": mixture_id, "residual_db": round(level_db, 2)}
                for level_db, mixture_id in quality.worst_residuals
            ],
        },
    }


def _num_in_two_splits(uses: Uses) -> int:
    length = max(map(len, uses.values()))
    used = [np.pad(counts > 0, (0, length - len(counts))) for counts in uses.values()]
    return int((np.sum(used, axis=0) > 1).sum())


def _split_document(
    shards: Sequence[ShardInfo], mixture_hours: float, num_speakers: int, num_utterances: int
) -> dict[str, Any]:
    return {
        "num_mixtures": sum(info.num_mixtures for info in shards),
        "num_shards": len(shards),
        "num_bytes": sum(info.num_bytes for info in shards),
        "mixture_hours": round(mixture_hours, 4),
        "num_speakers": num_speakers,
        "num_utterances": num_utterances,
    }


def _without_details(reason: str) -> str:
    """A reason without the numbers and names of one file, so that it can be counted."""
    return reason.partition(":")[0]


def _read_examples(folder: str, described: Dataset) -> list[Any]:
    """A dozen mixtures, or fewer long ones: the first ones of shards of all splits."""
    from beam_jobs.report import Example  # noqa: PLC0415

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
    from beam_jobs.report import render_report  # noqa: PLC0415

    return render_report(document, examples)


def _shard_order(info: ShardInfo) -> tuple[int, int]:
    return dataset.SPLITS.index(cast(dataset.Split, info.shard.split)), info.shard.index


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
