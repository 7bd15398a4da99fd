import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.recipes.splits import apportion, parse_shares, split_by_corpus, split_by_shares
from schemas.dataset import SPLITS

NAMES = st.sets(st.text(min_size=1, max_size=8), max_size=40)


@st.composite
def shares(draw):
    """Draws shares in whole percents."""
    first, second = sorted((draw(st.integers(0, 100)), draw(st.integers(0, 100))))
    percents = (first, second - first, 100 - second)
    return {split: percent / 100 for split, percent in zip(SPLITS, percents, strict=True)}


def counts_of(splits):
    return {split: list(splits.values()).count(split) for split in SPLITS}


@given(NAMES, shares(), st.integers(1, 5))
def test_every_speaker_stands_in_one_split(names, shares, min_speakers):
    assert split_by_shares(names, shares, min_speakers=min_speakers).keys() == names


@given(NAMES, shares())
def test_each_split_has_its_share_to_the_nearest_speaker(names, shares):
    counts = counts_of(split_by_shares(names, shares, min_speakers=0))
    for split in SPLITS:
        assert abs(counts[split] - shares[split] * len(names)) < 1


@given(NAMES, shares(), st.integers(1, 5))
def test_a_split_with_a_share_has_speakers_for_a_mixture_or_none(names, shares, min_speakers):
    counts = counts_of(split_by_shares(names, shares, min_speakers=min_speakers))
    largest = max(counts.values())
    for split in SPLITS:
        if counts[split] != largest:
            assert counts[split] == 0 or counts[split] >= min_speakers
        if not shares[split]:
            assert counts[split] == 0


@given(NAMES, st.randoms())
def test_the_order_of_the_speakers_does_not_matter(names, random):
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    listed = sorted(names)
    random.shuffle(listed)
    assert split_by_shares(listed, shares, min_speakers=2) == split_by_shares(
        names, shares, min_speakers=2
    )


@given(st.integers(0, 1000), shares())
def test_parts_add_up_to_the_whole(total, shares):
    counts = apportion(total, shares)
    assert sum(counts.values()) == total
    assert all(abs(counts[split] - total * shares[split]) < 1 for split in SPLITS)


@given(shares())
def test_shares_are_read(shares):
    text = ",".join(f"{split}={share}" for split, share in shares.items())
    assert parse_shares(text) == shares


def test_a_split_that_is_not_named_gets_nothing():
    assert parse_shares("train=0.7, test=0.3") == {"train": 0.7, "validation": 0, "test": 0.3}


@pytest.mark.parametrize(
    "text",
    ["train=1.5,test=-0.5", "train=0.5", "train=nan", "train", "train=1,dev=0", "train=a", ""],
)
def test_shares_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=f"--splits={text}: "):
        parse_shares(text)


def test_held_out_speakers_of_a_corpus_stay_held_out():
    splits = {"a": {"train"}, "b": {"train", "test"}, "c": {"validation", "train"}, "d": {""}}
    assert split_by_corpus(splits) == {"a": "train", "b": "test", "c": "validation", "d": "train"}
