"""The quality of a dataset: its measurements, and what they were asked to be."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from schemas.validation import load_document

VERSION = 1

_DETAILS = (
    "corpora",
    "splits",
    "use",
    "histograms",
    "checks",
    "given_mixtures",
    "rejected",
    "asked",
)


@dataclasses.dataclass(frozen=True, slots=True)
class SplitQuality:
    """The size of one split.

    Attributes:
        num_mixtures: its mixtures.
        num_shards: its shards.
        num_bytes: the size of its shards.
        mixture_hours: the length of its mixtures, in hours.
        num_speakers: the speakers that are in it.
        num_utterances: the different utterances that are in it.
    """

    num_mixtures: int
    num_shards: int
    num_bytes: int
    mixture_hours: float
    num_speakers: int
    num_utterances: int


@dataclasses.dataclass(frozen=True, slots=True)
class Uses:
    """Counts of how often each utterance or each speaker of a split is used.

    Attributes:
        min: the uses of the least used; 0 where none is used.
        max: the uses of the most used.
        histogram: by the number of uses, how many are used that often.
    """

    min: int
    max: int
    histogram: Mapping[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class SplitUses:
    """The use of the utterances and of the speakers of one split.

    Attributes:
        utterances: of each utterance.
        speakers: of each speaker.
        in_shards: of each utterance in each shard that it is in; None in older documents.
    """

    utterances: Uses
    speakers: Uses
    in_shards: Uses | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """The distribution of one quantity over the mixtures of a dataset.

    Attributes:
        title: a name for people.
        unit: of the values; may be empty.
        edges: of the bins, ascending; one more than there are counts, or none at all.
        counts: the number of values in each bin.
        num: the number of values.
        mean: the mean of the values; None without values, as are the next two.
        min: the least value.
        max: the greatest value.
    """

    title: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    num: int
    mean: float | None
    min: float | None
    max: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Checks:
    """Counts that are all 0 in a sound dataset whose mixtures are the sums of their parts.

    Attributes:
        max_sum_error: the greatest difference between a mixture and the sum of its parts, in steps
            of 16-bit PCM.
        speakers_in_two_splits: speakers that are in more than one split.
        clipped_samples: samples at full scale.
        missing_mixtures: mixtures that were planned and not made.
        silent_sources: sources without any sound in their mixture.
    """

    max_sum_error: int
    speakers_in_two_splits: int
    clipped_samples: int
    missing_mixtures: int
    silent_sources: int


@dataclasses.dataclass(frozen=True, slots=True)
class GivenChecks:
    """Counts that are all 0 in a sound dataset whose mixtures are recordings.

    Attributes:
        stems_in_two_splits: stems that are in more than one split.
        missing_mixtures: mixtures that were given and not made.
    """

    stems_in_two_splits: int
    missing_mixtures: int


@dataclasses.dataclass(frozen=True, slots=True)
class Residual:
    """A given mixture that is not the sum of its sources.

    Attributes:
        id: of the mixture.
        residual_db: the level of what the sources leave over, relative to the mixture.
    """

    id: str
    residual_db: float


@dataclasses.dataclass(frozen=True, slots=True)
class GivenMixtures:
    """The properties of mixtures that are recordings.

    Attributes:
        instruments: the names of the sources.
        exact: mixtures that are the sums of their sources.
        silent_sources: sources without any sound in their mixture.
        full_scale_samples: samples at full scale.
        worst: of the other mixtures, those whose sources leave over the most.
    """

    instruments: tuple[str, ...]
    exact: int
    silent_sources: int
    full_scale_samples: int
    worst: tuple[Residual, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RejectedFiles:
    """Counts of the files and utterances that could not be used.

    Attributes:
        total: all of them.
        by_reason: by the reason, without what is particular to one file; most frequent first.
    """

    total: int
    by_reason: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusSpeakers:
    """The speakers of a corpus, to see whether its layout was recognised.

    Attributes:
        corpus: the name of the corpus.
        layout: the layout by which its speakers were found; empty where recipes are given.
        num_speakers: with utterances that can be used.
        speakers: the names of the first few.
    """

    corpus: str
    layout: str
    num_speakers: int
    speakers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Expectation:
    """A value that a recipe configuration asked for, and the one that was achieved."""

    title: str
    asked: str
    achieved: str


@dataclasses.dataclass(frozen=True, slots=True)
class Quality:
    """The content of `quality.json`.

    Attributes:
        name: the name of the dataset.
        description: of its recipes.
        command: the command line that built it.
        sample_rate: of all audio, in Hz.
        num_speakers: the sources of each mixture, or of those that have most.
        splits: by name; only splits with mixtures.
        use: by the name of the split.
        histograms: by the name of the quantity.
        checks: counts that have to be 0.
        rejected: what could not be used.
        asked: what the recipe configuration asked for; empty where recipes are given.
        given_mixtures: None where mixtures are the sums of their parts.
        corpora: the speech that the dataset is made of; empty in older documents.
    """

    name: str
    description: str
    command: str
    sample_rate: int
    num_speakers: int
    splits: Mapping[str, SplitQuality]
    use: Mapping[str, SplitUses]
    histograms: Mapping[str, Histogram]
    checks: Checks | GivenChecks
    rejected: RejectedFiles
    asked: tuple[Expectation, ...]
    given_mixtures: GivenMixtures | None = None
    corpora: tuple[CorpusSpeakers, ...] = ()

    @property
    def num_mixtures(self) -> int:
        """The mixtures of all splits."""
        return sum(split.num_mixtures for split in self.splits.values())

    @property
    def num_shards(self) -> int:
        """The shards of all splits."""
        return sum(split.num_shards for split in self.splits.values())

    @property
    def mixture_hours(self) -> float:
        """The length of all mixtures, in hours."""
        return sum(split.mixture_hours for split in self.splits.values())

    def to_json(self) -> str:
        """Returns the content of `quality.json`."""
        fields = dataclasses.asdict(self)
        keys = ("name", "description", "command", "sample_rate", "num_speakers")
        document = {"version": VERSION} | {key: fields[key] for key in keys}
        for total in ("num_mixtures", "num_shards", "mixture_hours"):
            document[total] = getattr(self, total)
        # Older documents say nothing of their corpora and of the uses in their shards.
        fields["corpora"] = fields["corpora"] or None
        fields["use"] = {
            split: {kind: uses for kind, uses in kinds.items() if uses is not None}
            for split, kinds in fields["use"].items()
        }
        for key in _DETAILS:
            if fields[key] is not None:
                document[key] = fields[key]
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_quality(text: str | bytes, origin: str) -> Quality:
    """Reads what `Quality.to_json` writes.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not the quality of a dataset, or one of another version.
    """
    document = load_document(text, "quality", origin)
    # The totals follow from the splits.
    for key in ("version", "num_mixtures", "num_shards", "mixture_hours"):
        del document[key]
    given = document.get("given_mixtures")
    return Quality(
        **document
        | {
            "splits": {name: SplitQuality(**split) for name, split in document["splits"].items()},
            "use": {
                name: SplitUses(**{kind: _parse_uses(uses) for kind, uses in kinds.items()})
                for name, kinds in document["use"].items()
            },
            "histograms": {
                name: Histogram(**_with_tuples(histogram))
                for name, histogram in document["histograms"].items()
            },
            "checks": (
                Checks(**document["checks"])
                if "max_sum_error" in document["checks"]
                else GivenChecks(**document["checks"])
            ),
            "rejected": RejectedFiles(**document["rejected"]),
            "asked": tuple(Expectation(**one) for one in document["asked"]),
            "corpora": tuple(
                CorpusSpeakers(**_with_tuples(one)) for one in document.get("corpora", ())
            ),
            "given_mixtures": None if given is None else _parse_given_mixtures(given),
        }
    )


def _parse_uses(document: dict[str, Any]) -> Uses:
    histogram = {int(uses): count for uses, count in document["histogram"].items()}
    return Uses(**document | {"histogram": histogram})


def _parse_given_mixtures(document: dict[str, Any]) -> GivenMixtures:
    worst = tuple(Residual(**one) for one in document["worst"])
    return GivenMixtures(**_with_tuples(document) | {"worst": worst})


def _with_tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
