"""Finishing a dataset: its descriptions, its report, and last of all `COMPLETED`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from beam_jobs.dataset.card import licenses_of, list_corpora, write_card
from beam_jobs.dataset.corpus_summary import summarise_corpora
from beam_jobs.dataset.folder import remove_leftovers
from beam_jobs.dataset.reading import read_mixtures
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.cleanness import compare_with_limits, summarise_cleanness
from beam_jobs.quality.examples import Example, make_example
from beam_jobs.quality.expectations import compare_with_config
from beam_jobs.quality.measurements import Measurements
from beam_jobs.quality.summary import summarise_quality
from beam_jobs.quality.uses import UseCounts
from beam_jobs.runtime.dead_letters import Rejected, read_rejected, write_rejected
from beam_jobs.storage import files
from schemas import dataset
from schemas.croissant import croissant_document
from schemas.dataset import SPLITS, Dataset, ShardInfo, Split
from schemas.quality import Quality
from schemas.recipe import num_channels

_NUM_EXAMPLES = 12
# All examples are in one page, which a browser still has to open.
_MAX_EXAMPLES_S = 600.0


def finish_dataset(
    spec: DatasetSpec,
    measurements: Measurements,
    uses: UseCounts,
    uses_in_shards: UseCounts,
    *,
    command: str,
) -> Quality | None:
    """Writes everything that is not a shard.

    Args:
        spec: the dataset, whose shards are all written.
        measurements: of all shards.
        uses: by split, the uses of each entry of the catalogue.
        uses_in_shards: by split, the number of entries by the number of uses in a shard.
        command: the command line, for the report.

    Returns:
        The quality of the dataset, or None if it has no mixtures and is not finished.
    """
    rejected_path = files.join(spec.folder, dataset.REJECTED)
    rejected = sorted(measurements.rejected | set(read_rejected(rejected_path)))
    write_rejected(rejected_path, rejected)
    splits_made = {info.shard.split for info in measurements.infos if info.num_mixtures}
    if not splits_made:
        return None
    described = _describe(
        spec, [info for info in measurements.infos if info.shard.split in splits_made]
    )
    quality = _summarise(spec, described, measurements, uses, uses_in_shards, rejected, command)
    _write_documents(spec, described, quality)
    checksums = {
        name: files.checksum(files.join(spec.folder, name))[1] for name in dataset.CHECKSUMMED
    }
    described = dataclasses.replace(described, files=checksums)
    files.write_text(files.join(spec.folder, dataset.DATASET), described.to_json())
    files.write_text(files.join(spec.folder, dataset.COMPLETED), described.completed)
    remove_leftovers(spec.folder)
    return quality


def _describe(spec: DatasetSpec, infos: Sequence[ShardInfo]) -> Dataset:
    config = spec.plan_options.config
    return Dataset(
        name=spec.dataset_name,
        sample_rate=config.sample_rate,
        num_sources=config.most_speakers,
        compression=spec.compression,
        shards=tuple(sorted(infos, key=_shard_order)),
        num_channels=num_channels(config.channels),
        instruments=spec.instruments,
        mixture_given=spec.mixture_given,
        silent_rows=config.has_silent_rows,
    )


def _shard_order(info: ShardInfo) -> tuple[int, int]:
    return SPLITS.index(cast(Split, info.shard.split)), info.shard.index


def _summarise(
    spec: DatasetSpec,
    described: Dataset,
    measurements: Measurements,
    uses: UseCounts,
    uses_in_shards: UseCounts,
    rejected: Sequence[Rejected],
    command: str,
) -> Quality:
    config = spec.plan_options.config
    catalogue = spec.open_catalogue()
    speech = catalogue.entries_outside(spec.plan_options.sounds.values())
    num_planned = sum(spec.open_plan().counts.values())
    num_made = sum(info.num_mixtures for info in described.shards)
    return summarise_quality(
        measurements,
        uses,
        uses_in_shards,
        catalogue,
        described,
        description=config.description,
        command=command,
        asked=(
            ()
            if spec.given
            else (
                *compare_with_config(measurements, config, catalogue.genders(speech)),
                *compare_with_limits(catalogue, config.clean_enough),
            )
        ),
        cleanness={} if config.clean_enough is None else summarise_cleanness(catalogue),
        rejected=rejected,
        missing_mixtures=num_planned - num_made,
        corpora=summarise_corpora(spec, catalogue),
    )


def _write_documents(spec: DatasetSpec, described: Dataset, quality: Quality) -> None:
    # Matplotlib takes half a second to import: only the worker that draws pays for it.
    from beam_jobs.quality.page import render_report  # noqa: PLC0415

    features = dataset.features_document(
        described.num_sources,
        described.num_channels,
        noise=spec.has_noise,
        rooms=spec.has_rooms,
        transmission=spec.has_transmission,
        enrolment_samples=spec.enrolment_samples,
    )
    info = dataset.dataset_info_document(described, spec.version, quality.description)
    documents = {
        dataset.FEATURES: _to_json(features),
        dataset.DATASET_INFO: _to_json(info),
        dataset.QUALITY: quality.to_json(),
        dataset.CARD: write_card(spec, described, quality),
        dataset.CROISSANT: _to_json(
            croissant_document(
                described,
                spec.version,
                quality.description,
                licenses_of(list_corpora(spec)),
            )
        ),
        dataset.REPORT: render_report(quality, _read_examples(spec.folder, described)),
    }
    for name, text in documents.items():
        files.write_text(files.join(spec.folder, name), text)


def _read_examples(folder: str, described: Dataset) -> list[Example]:
    """Reads a dozen mixtures, or fewer long ones: the first of shards of all splits in turn."""
    shards = [
        [info for info in described.split_shards(split) if info.num_mixtures] for split in SPLITS
    ]
    in_turn = [
        split_shards[index]
        for index in range(_NUM_EXAMPLES)
        for split_shards in shards
        if index < len(split_shards)
    ]
    examples: list[Example] = []
    shown_s = 0.0
    for info in in_turn[:_NUM_EXAMPLES]:
        stored = next(read_mixtures(folder, described, info))
        shown_s += stored.recipe.duration_s
        if examples and shown_s > _MAX_EXAMPLES_S:
            break
        examples.append(make_example(stored))
    return examples


def _to_json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
