"""Divides speakers among the splits."""

from collections.abc import Iterable, Mapping

from beam_jobs.recipes.random_numbers import keyed_bytes
from schemas.dataset import SPLITS, Split
from schemas.errors import UserError

# If a corpus has a speaker in two splits, data that is held out must stay held out.
_STRICTEST_FIRST: tuple[Split, ...] = ("test", "validation", "train")


def parse_shares(text: str) -> Mapping[Split, float]:
    """Reads shares such as `train=0.8,validation=0.1,test=0.1`; a split without one gets nothing.

    Raises:
        UserError: a name is not a split, a share is not a number from 0 to 1, or they do not add up
            to 1.
    """
    shares: dict[Split, float] = dict.fromkeys(SPLITS, 0.0)
    try:
        for part in text.split(","):
            name, number = part.split("=")
            shares[SPLITS[SPLITS.index(name.strip())]] = float(number)
    except ValueError:
        raise UserError(
            f"--splits={text}: say 'corpus', or shares such as train=0.8,validation=0.1,test=0.1"
        ) from None
    for split, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(
                f"--splits={text}: the share of {split} is {share:g}: a share is a number from 0 to"
                " 1, and together they are 1"
            )
    if abs(sum(shares.values()) - 1) >= 1e-6:
        raise UserError(f"--splits={text}: the shares must add up to 1")
    return shares


def split_by_shares(
    speakers: Iterable[str], shares: Mapping[Split, float], *, min_speakers: int
) -> dict[str, Split]:
    """Gives each split its share of the speakers, in the order of a hash of their names.

    The seed of a job has no influence: no dataset trains on a speaker that another dataset from the
    same corpus tests on, if the shares are the same.

    Args:
        speakers: the names.
        shares: of the speakers, adding up to 1.
        min_speakers: the fewest that a split can do with; one that can't have as many gets none.

    Returns:
        The split of each speaker.
    """
    ordered = sorted(speakers, key=lambda speaker: (keyed_bytes("split", speaker), speaker))
    counts = apportion(len(ordered), shares)
    largest = max(SPLITS, key=lambda split: counts[split])
    for split in _STRICTEST_FIRST:
        if split != largest and shares[split] and counts[split] < min_speakers:
            missing = min_speakers - counts[split]
            moved = missing if counts[largest] - missing >= min_speakers else -counts[split]
            counts[split] += moved
            counts[largest] -= moved
    splits: dict[str, Split] = {}
    for split in SPLITS:
        taken = len(splits)
        splits |= dict.fromkeys(ordered[taken : taken + counts[split]], split)
    return splits


def split_by_corpus(speaker_splits: Mapping[str, Iterable[str]]) -> dict[str, Split]:
    """Leaves each speaker in the split of the corpus; one without a split is for training.

    Args:
        speaker_splits: the splits of each speaker's utterances. Of several, test comes before
            validation, and validation before train.
    """
    return {
        speaker: next((split for split in _STRICTEST_FIRST if split in splits), "train")
        for speaker, splits in speaker_splits.items()
    }


def apportion(total: int, shares: Mapping[Split, float]) -> dict[Split, int]:
    """Divides a number by shares; the method of largest remainders makes the parts add up."""
    whole = sum(shares.values())
    exact = {split: total * share / whole for split, share in shares.items()}
    counts = {split: int(value) for split, value in exact.items()}
    by_remainder = sorted(shares, key=lambda split: counts[split] - exact[split])
    for split in by_remainder[: total - sum(counts.values())]:
        counts[split] += 1
    return counts
