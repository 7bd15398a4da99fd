"""Which speaker stands in which split."""

from collections.abc import Iterable, Mapping

from beam_jobs.recipes.random_numbers import keyed_bytes
from schemas.dataset import SPLITS, Split
from schemas.errors import UserError

# Where a corpus itself has a speaker in two splits, held-out data must stay held out.
_STRICTEST_FIRST: tuple[Split, ...] = ("test", "validation", "train")


def parse_shares(text: str) -> Mapping[Split, float]:
    """Reads `train=0.8,validation=0.1,test=0.1`; what isn't named gets nothing.

    Raises:
        UserError: another name, not a number, or shares that don't add up to 1.
    """
    shares: dict[Split, float] = dict.fromkeys(SPLITS, 0.0)
    try:
        for part in text.split(","):
            name, share = part.split("=")
            shares[SPLITS[SPLITS.index(name.strip())]] = float(share)
    except ValueError:
        raise UserError(
            f"--splits={text}: say 'corpus', or shares such as train=0.8,validation=0.1,test=0.1"
        ) from None
    if not (min(shares.values()) >= 0 and abs(sum(shares.values()) - 1) < 1e-6):
        raise UserError(f"--splits={text}: the shares must add up to 1")
    return shares


def split_by_shares(
    speakers: Iterable[str], shares: Mapping[Split, float], *, min_speakers: int
) -> dict[str, Split]:
    """Gives each split its share of the speakers, in the order of a hash of their names.

    The seed of a job has no part in it: a speaker whom one dataset tests on is not trained on by
    another one from the same corpus.

    Args:
        speakers: the names.
        shares: of the speakers, adding up to 1.
        min_speakers: what a split needs; one that can't have as many gets none.

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
    """Leaves each speaker where the corpus has it; one whom it does not place is trained on.

    Args:
        speaker_splits: the splits that each speaker's utterances stand in. Of several, the one that
            must be kept apart most strictly counts.
    """
    return {
        speaker: next((split for split in _STRICTEST_FIRST if split in splits), "train")
        for speaker, splits in speaker_splits.items()
    }


def apportion(total: int, shares: Mapping[Split, float]) -> dict[Split, int]:
    """Divides a number by shares, rounded so that the parts add up (largest remainders)."""
    whole = sum(shares.values())
    exact = {split: total * share / whole for split, share in shares.items()}
    counts = {split: int(value) for split, value in exact.items()}
    by_remainder = sorted(shares, key=lambda split: counts[split] - exact[split])
    for split in by_remainder[: total - sum(counts.values())]:
        counts[split] += 1
    return counts
