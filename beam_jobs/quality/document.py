"""TODO."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.quality.measures import Quality, use_document
from beam_jobs.runtime.dead_letters import Rejected
from schemas.dataset import SPLITS, Dataset, ShardInfo

Uses = dict[str, npt.NDArray[np.int64]]


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
