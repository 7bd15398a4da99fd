"""The quality of a dataset, from the measurements of its shards."""

from collections.abc import Mapping, Sequence

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.quality.measurements import Measurements
from beam_jobs.quality.uses import (
    UseCounts,
    count_in_two_splits,
    count_speaker_uses,
    summarise_counts,
    summarise_uses,
)
from beam_jobs.runtime.dead_letters import ReasonCounts, Rejected
from schemas.dataset import SPLITS, Dataset
from schemas.quality import (
    Checks,
    CorpusSpeakers,
    Expectation,
    GivenChecks,
    GivenMixtures,
    Histogram,
    Quality,
    RejectedFiles,
    Residual,
    SplitQuality,
    SplitUses,
)


def summarise_quality(
    measurements: Measurements,
    uses: UseCounts,
    uses_in_shards: UseCounts,
    catalogue: Catalogue,
    dataset: Dataset,
    *,
    description: str,
    command: str,
    asked: Sequence[Expectation],
    rejected: Sequence[Rejected],
    missing_mixtures: int,
    corpora: Sequence[CorpusSpeakers],
    cleanness: Mapping[str, Histogram],
) -> Quality:
    """Summarises the measurements of all shards of a dataset.

    Args:
        measurements: of all shards.
        uses: by split, the uses of each entry of the catalogue.
        uses_in_shards: by split, the number of entries by the number of uses in a shard.
        catalogue: the utterances.
        dataset: the dataset.
        description: of its recipes.
        command: the command line that built it.
        asked: what the recipes were asked for.
        rejected: the files that could not be used.
        missing_mixtures: mixtures that were planned and not made.
        corpora: the speech in the catalogue.
        cleanness: histograms of the utterances in the catalogue; empty where none was measured.
    """
    splits = [split for split in SPLITS if split in uses]
    speaker_uses = count_speaker_uses({split: uses[split] for split in splits}, catalogue)
    reasons = ReasonCounts(rejected).counts
    checks: Checks | GivenChecks
    if dataset.mixture_given:
        checks = GivenChecks(count_in_two_splits(uses), missing_mixtures)
    else:
        checks = Checks(
            max_sum_error=measurements.max_sum_error,
            speakers_in_two_splits=count_in_two_splits(speaker_uses),
            clipped_samples=measurements.clipped_samples,
            missing_mixtures=missing_mixtures,
            silent_sources=measurements.silent_sources,
        )
    return Quality(
        name=dataset.name,
        description=description,
        command=command,
        sample_rate=dataset.sample_rate,
        num_speakers=dataset.num_sources,
        splits={
            split: _summarise_split(
                dataset,
                split,
                num_samples=measurements.samples[split],
                num_speakers=int((speaker_uses[split] > 0).sum()),
                num_utterances=int((uses[split] > 0).sum()),
            )
            for split in splits
        },
        use={
            split: SplitUses(
                summarise_uses(uses[split]),
                summarise_uses(speaker_uses[split]),
                summarise_counts(uses_in_shards[split]),
            )
            for split in splits
        },
        histograms={**measurements.summarise_histograms(), **cleanness},
        checks=checks,
        rejected=RejectedFiles(len(rejected), dict(reasons.most_common())),
        asked=tuple(asked),
        corpora=tuple(corpora),
        given_mixtures=(
            _summarise_given_mixtures(measurements, dataset) if dataset.mixture_given else None
        ),
    )


def _summarise_split(
    dataset: Dataset, split: str, *, num_samples: int, num_speakers: int, num_utterances: int
) -> SplitQuality:
    shards = dataset.split_shards(split)
    return SplitQuality(
        num_mixtures=sum(info.num_mixtures for info in shards),
        num_shards=len(shards),
        num_bytes=sum(info.num_bytes for info in shards),
        mixture_hours=round(num_samples / dataset.sample_rate / 3600, 4),
        num_speakers=num_speakers,
        num_utterances=num_utterances,
    )


def _summarise_given_mixtures(measurements: Measurements, dataset: Dataset) -> GivenMixtures:
    return GivenMixtures(
        instruments=dataset.instruments,
        exact=measurements.exact_mixtures,
        silent_sources=measurements.silent_sources,
        full_scale_samples=measurements.clipped_samples,
        worst=tuple(
            Residual(mixture_id, round(level_db, 2))
            for level_db, mixture_id in measurements.worst_residuals
        ),
    )
