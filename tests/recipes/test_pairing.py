from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from beam_jobs.recipes import pairing
from beam_jobs.recipes.group_sizes import GroupSizes
from beam_jobs.recipes.pairing import Pairing

KEY = (0, "train")

SIZES = st.one_of(
    st.integers(1, 5).map(lambda size: [size]), st.lists(st.integers(1, 6), min_size=2, max_size=6)
)


@st.composite
def corpora(draw):
    """Draws the number of utterances of each speaker, and the numbers of speakers that meet."""
    sizes = draw(SIZES)
    counts = draw(st.lists(st.integers(1, 12), min_size=max(sizes), max_size=12))
    return counts, sizes


def speakers_of(counts):
    """Returns the speaker of each utterance, int32 `[utterances]`, shuffled."""
    speakers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return np.random.default_rng(1).permutation(speakers)


def pair(counts, sizes, key=KEY):
    speakers = speakers_of(counts)
    return Pairing(speakers, sizes=GroupSizes(sizes), key=key), speakers


def uses_of(groups, num_utterances):
    return np.bincount(np.concatenate(groups), minlength=num_utterances)


@given(corpora(), st.integers(1, 60))
def test_no_group_has_a_speaker_twice(corpus, num_groups):
    paired, speakers = pair(*corpus)
    for group in paired.groups(0, num_groups):
        assert len(set(speakers[group])) == len(group)


@given(corpora(), st.integers(1, 80))
def test_every_utterance_is_used_equally_often_give_or_take_one(corpus, num_groups):
    counts, sizes = corpus
    assume(max(counts) * max(sizes) <= sum(counts))
    paired, speakers = pair(counts, sizes)
    uses = uses_of(list(paired.groups(0, num_groups)), len(speakers))
    assert uses.sum() == GroupSizes(sizes).num_utterances(num_groups)
    assert uses.max() - uses.min() <= 1


@given(corpora(), st.integers(1, 200))
def test_utterances_of_a_speaker_who_has_too_many_take_turns(corpus, num_groups):
    paired, speakers = pair(*corpus)
    uses = uses_of(list(paired.groups(0, num_groups)), len(speakers))
    for speaker in set(speakers):
        own = uses[speakers == speaker]
        assert own.max() - own.min() <= 1 + (own.max() > 1)


@given(corpora(), st.integers(0, 50), st.integers(0, 50))
def test_a_stretch_is_the_same_without_what_comes_before_it(corpus, start, length):
    paired, _ = pair(*corpus)
    whole = list(paired.groups(0, start + length))
    again, _ = pair(*corpus)
    np.testing.assert_equal(list(again.groups(start, start + length)), whole[start:])


@given(corpora(), st.integers(0, 50), st.integers(1, 50))
def test_any_stretch_has_the_shares_of_sizes_that_were_asked_for(corpus, start, length):
    paired, _ = pair(*corpus)
    found = Counter(len(group) for group in paired.groups(start, start + length))
    for size, count in Counter(corpus[1]).items():
        assert abs(found[size] - length * count / len(corpus[1])) < 2


@given(
    st.lists(st.integers(1, 40), min_size=6, max_size=20),
    st.sampled_from([[2], [3], [4], [5], [1, 2, 3], [2, 3, 6, 2]]),
    st.integers(0, 300),
    st.integers(1, 120),
)
@example([1, 1, 1, 21, 40, 40], [2, 3, 6, 2], 0, 1)
def test_several_buckets_keep_the_promises_of_one(counts, sizes, start, length):
    with patch.object(pairing, "BUCKET_SIZE", 60):
        paired, speakers = pair(counts, sizes)
        groups = list(paired.groups(0, start + length))
        np.testing.assert_equal(list(paired.groups(start, start + length)), groups[start:])
    assert len(groups) == start + length
    assert all(len(set(speakers[group])) == len(group) for group in groups)


@pytest.mark.parametrize("sizes", [[2], [3], [5], [1, 2, 3, 1], [7], [9, 2]])
def test_several_buckets_use_every_utterance_equally_often(sizes):
    counts = [10] * 30
    with patch.object(pairing, "BUCKET_SIZE", 60):
        paired, speakers = pair(counts, sizes)
        for num_groups in (1, 59, 150, 457):
            uses = uses_of(list(paired.groups(0, num_groups)), len(speakers))
            assert uses.max() - uses.min() <= 1


def test_a_round_uses_every_utterance_once():
    paired, speakers = pair([4, 4, 4, 4, 4], [2])
    assert paired.blocks_per_round == 10
    assert uses_of(list(paired.groups(0, 10)), len(speakers)).tolist() == [1] * 20


def test_rounds_pair_anew():
    paired, _ = pair([5] * 10, [2])
    rounds = [
        {frozenset(group.tolist()) for group in paired.groups(25 * number, 25 * (number + 1))}
        for number in range(4)
    ]
    assert len(set.union(*rounds)) > 80


def test_who_meets_whom_is_even():
    paired, speakers = pair([10] * 6, [2])
    meetings = Counter(frozenset(speakers[group].tolist()) for group in paired.groups(0, 30 * 100))
    assert len(meetings) == 15
    assert max(meetings.values()) < 1.5 * min(meetings.values())


@pytest.mark.parametrize("key", [(1, "train"), (0, "test")])
def test_another_key_pairs_otherwise(key):
    groups, others = (list(pair([5] * 10, [2], key)[0].groups(0, 25)) for key in (KEY, key))
    assert not np.array_equal(groups, others)


def test_two_utterances_meet_as_often_as_asked():
    paired, _ = pair([1, 1], [2])
    assert [sorted(group) for group in paired.groups(0, 50)] == [[0, 1]] * 50


def test_fewer_speakers_than_a_group_needs_are_refused():
    with pytest.raises(ValueError, match="2 speakers are too few for mixtures of 3"):
        pair([4, 4], [3])


@pytest.mark.parametrize("counts", [[6, 6, 6], [1] * 6, [4] * 10])
def test_a_round_of_several_sizes_uses_every_utterance_once(counts):
    paired, speakers = pair(counts, [3, 1, 2])
    num_groups = GroupSizes([3, 1, 2]).num_groups(len(speakers))
    uses = uses_of(list(paired.groups(0, num_groups)), len(speakers))
    assert uses.max() == 1
    assert uses.sum() > len(speakers) - 3


def test_an_utterance_meets_others_in_groups_of_all_sizes():
    paired, _ = pair([5] * 12, [1, 2, 3])
    met = Counter(
        (utterance, len(group)) for group in paired.groups(0, 3000) for utterance in group.tolist()
    )
    # Half of the utterances are in groups of three, a third in pairs.
    assert all(30 < met[utterance, 3] < 70 for utterance in range(60))
    assert all(15 < met[utterance, 2] < 55 for utterance in range(60))


def test_few_speakers_make_many_sizes():
    paired, speakers = pair([6] * 10, range(1, 11))
    groups = list(paired.groups(0, 100))
    assert all(len(set(speakers[group])) == len(group) for group in groups)
    uses = uses_of(groups, len(speakers))
    assert uses.max() - uses.min() <= 1
