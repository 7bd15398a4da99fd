import itertools
from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from beam_jobs.recipes import pairing
from beam_jobs.recipes.gender_share import GenderShare
from beam_jobs.recipes.group_sizes import GroupSizes
from beam_jobs.recipes.pairing import Pairing, uses_per_round
from beam_jobs.recipes.tables import Tables

KEY = (0, "train")

SIZES = st.one_of(
    st.integers(1, 5).map(lambda size: [size]), st.lists(st.integers(1, 6), min_size=2, max_size=6)
)


def speakers_of(counts):
    """Returns the speaker of each utterance, int32 `[utterances]`, shuffled."""
    speakers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return np.random.default_rng(1).permutation(speakers)


def lay(speakers, sizes=2, *, num_mixtures, num_shards, key=KEY, **options):
    return Tables(
        speakers,
        sizes=GroupSizes([sizes] if isinstance(sizes, int) else sizes),
        key=key,
        num_mixtures=num_mixtures,
        num_shards=num_shards,
        **options,
    )


def shards_of(tables, num_shards):
    """Returns the utterances of each mixture of each shard."""
    return [list(tables.groups(index)) for index in range(num_shards)]


def all_mixtures(tables, num_shards):
    """Returns the utterances of the mixtures of all shards."""
    return list(itertools.chain.from_iterable(shards_of(tables, num_shards)))


def uses_of(mixtures, num_utterances):
    return np.bincount(np.concatenate(mixtures), minlength=num_utterances)


def num_pairs(speakers, mixtures):
    """Returns the number of different pairs of speakers that meet in some mixtures of two."""
    return len(np.unique(np.sort(speakers[np.array(mixtures)], axis=1), axis=0))


@st.composite
def plans(draw):
    """Draws a small corpus, and what to make of it."""
    sizes = draw(SIZES)
    counts = draw(st.lists(st.integers(1, 12), min_size=max(sizes), max_size=14))
    num_mixtures = draw(st.integers(1, 400))
    num_shards = draw(st.integers(1, min(num_mixtures, 40)))
    max_uses = draw(st.one_of(st.none(), st.integers(1, 20)))
    speakers = speakers_of(counts)
    asked = {"num_mixtures": num_mixtures, "num_shards": num_shards, "max_uses": max_uses}
    return speakers, sizes, asked


@given(plans())
def test_nobody_meets_herself(plan):
    speakers, sizes, asked = plan
    for mixtures in shards_of(lay(speakers, sizes, **asked), asked["num_shards"]):
        assert all(len(set(speakers[group])) == len(group) for group in mixtures)


@settings(max_examples=200)
@given(plans())
def test_every_utterance_is_used_equally_often_give_or_take_one(plan):
    speakers, sizes, asked = plan
    assume(np.bincount(speakers).max() * max(sizes) <= len(speakers))
    mixtures = all_mixtures(lay(speakers, sizes, **asked), asked["num_shards"])
    uses = uses_of(mixtures, len(speakers))
    assert len(mixtures) == asked["num_mixtures"]
    assert uses.max() - uses.min() <= 1


@given(plans())
def test_utterances_of_a_speaker_who_has_too_many_take_turns(plan):
    speakers, sizes, asked = plan
    mixtures = all_mixtures(lay(speakers, sizes, **asked), asked["num_shards"])
    uses = uses_of(mixtures, len(speakers))
    for speaker in set(speakers):
        own = uses[speakers == speaker]
        assert own.max() - own.min() <= 1 + (own.max() > 1)


@given(plans())
def test_shards_follow_each_other_and_are_of_about_the_same_size(plan):
    speakers, sizes, asked = plan
    tables = lay(speakers, sizes, **asked)
    position = 0
    even = asked["num_mixtures"] / asked["num_shards"]
    for index, mixtures in enumerate(shards_of(tables, asked["num_shards"])):
        assert abs(len(mixtures) - even) < len(sizes) * tables.max_uses + 1
        assert len(mixtures) > 0
        assert tables.shard_range(index) == (position, position + len(mixtures))
        position += len(mixtures)
    assert position == asked["num_mixtures"]


@given(plans(), st.data())
def test_any_stretch_has_the_shares_of_sizes_that_were_asked_for(plan, data):
    speakers, sizes, asked = plan
    mixtures = all_mixtures(lay(speakers, sizes, **asked), asked["num_shards"])
    start = data.draw(st.integers(0, len(mixtures) - 1))
    stretch = mixtures[start : data.draw(st.integers(start + 1, len(mixtures)))]
    found = Counter(map(len, stretch))
    for size, count in Counter(sizes).items():
        # The mixtures of a shard that make no whole block come after its blocks.
        assert abs(found[size] - len(stretch) * count / len(sizes)) < 4


@given(plans(), st.data())
def test_a_shard_is_the_same_without_the_others(plan, data):
    speakers, sizes, asked = plan
    index = data.draw(st.integers(0, asked["num_shards"] - 1))
    all_shards = shards_of(lay(speakers, sizes, **asked), asked["num_shards"])
    alone = lay(speakers, sizes, **asked)
    np.testing.assert_equal(list(alone.groups(index)), all_shards[index])


@given(plans())
def test_used_once_utterances_meet_as_the_pairing_has_them(plan):
    speakers, sizes, asked = plan
    pairs = Pairing(speakers, sizes=GroupSizes(sizes), key=KEY)
    num_mixtures = min(
        asked["num_mixtures"], GroupSizes(sizes).num_groups(uses_per_round(speakers, max(sizes)))
    )
    assume(num_mixtures >= asked["num_shards"])
    tables = lay(speakers, sizes, **asked | {"num_mixtures": num_mixtures})
    mixtures = all_mixtures(tables, asked["num_shards"])
    np.testing.assert_equal(mixtures, list(pairs.groups(0, num_mixtures)))


@pytest.mark.parametrize("num_speakers", [40, 41])
@pytest.mark.parametrize(("sizes", "uses"), [([2], 5), ([3], 5), ([1, 2, 2], 5), ([1, 2, 3], 2.5)])
def test_an_utterance_is_used_several_times_in_a_shard_and_in_few_shards(num_speakers, sizes, uses):
    speakers = speakers_of([25] * num_speakers)
    num_mixtures = GroupSizes(sizes).num_groups(6 * len(speakers))
    num_shards = num_mixtures // (120 if len(sizes) == 1 else 240)
    shards = shards_of(
        lay(speakers, sizes, num_mixtures=num_mixtures, num_shards=num_shards), num_shards
    )
    per_shard = [uses_of(mixtures, len(speakers)) for mixtures in shards]
    kept = [uses[uses > 0] for uses in per_shard]
    assert np.mean(np.concatenate(kept)) > uses
    assert max(map(len, shards)) <= 1.2 * min(map(len, shards))


def test_utterances_meet_others_each_time_they_are_used():
    speakers = speakers_of([1] * 400)
    shards = shards_of(lay(speakers, num_mixtures=1600, num_shards=12), 12)
    for mixtures in shards:
        # A table at which a round ends and another one begins may have someone twice.
        assert num_pairs(speakers, mixtures) > 0.97 * len(mixtures)


@pytest.mark.parametrize(
    ("num_speakers", "utterances_each", "uses"), [(500, 10, 2), (500, 10, 8), (100, 60, 4)]
)
def test_as_many_speakers_meet_as_without_tables(num_speakers, utterances_each, uses):
    speakers = speakers_of([utterances_each] * num_speakers)
    num_mixtures = uses * len(speakers) // 2
    num_shards = num_mixtures // 128
    met = [
        num_pairs(
            speakers,
            all_mixtures(
                lay(speakers, num_mixtures=num_mixtures, num_shards=num_shards, max_uses=limit),
                num_shards,
            ),
        )
        for limit in (None, 1)
    ]
    assert met[0] > 0.97 * met[1]


def test_tables_are_drawn_anew_in_every_round():
    speakers = speakers_of([1] * 60)
    shards = shards_of(lay(speakers, num_mixtures=3000, num_shards=60), 60)
    partners = Counter(frozenset(group.tolist()) for shard in shards for group in shard)
    assert len(partners) > 0.75 * 60 * 59 / 2
    assert len({tuple(np.unique(mixtures)) for mixtures in shards}) == 60


def test_a_large_shard_has_several_tables():
    speakers = speakers_of([1] * 2000)
    (mixtures,) = shards_of(lay(speakers, num_mixtures=8000, num_shards=1), 1)
    for start in range(0, 8000 - 250, 250):
        assert len(np.unique(mixtures[start : start + 250])) < 200


@pytest.mark.parametrize("asked", [1, 3, 20])
def test_a_number_of_uses_that_is_asked_for_is_not_exceeded(asked):
    speakers = speakers_of([1] * 500)
    tables = lay(speakers, num_mixtures=5000, num_shards=40, max_uses=asked)
    assert tables.max_uses == min(asked, 20)
    # At the end of a round, a shard may have utterances of two rounds.
    for mixtures in shards_of(tables, 40):
        assert np.median(uses_of(mixtures, 500)[np.unique(mixtures)]) <= asked


def test_another_key_makes_other_tables():
    speakers = speakers_of([4] * 20)
    first, second = (
        all_mixtures(lay(speakers, num_mixtures=300, num_shards=4, key=key), 4)
        for key in (KEY, (1, "train"))
    )
    assert not np.array_equal(first, second)


@settings(max_examples=60)
@given(
    st.integers(6, 20),
    st.integers(6, 20),
    st.one_of(st.integers(2, 5), st.lists(st.integers(1, 5), min_size=2, max_size=4)),
    st.floats(0, 1),
    st.integers(8, 300),
    st.integers(1, 8),
)
def test_with_a_share_of_genders_speakers_are_apart_and_use_stays_even(
    num_women, num_men, sizes, same, num_mixtures, num_shards
):
    speakers = speakers_of([4] * (num_women + num_men))
    genders = GenderShare(speakers < num_women, same)
    tables = lay(speakers, sizes, num_mixtures=num_mixtures, num_shards=num_shards, genders=genders)
    mixtures = all_mixtures(tables, num_shards)
    assert all(len(set(speakers[group])) == len(group) for group in mixtures)
    uses = uses_of(mixtures, len(speakers))
    assert uses.max() - uses.min() <= 1


@pytest.mark.parametrize("same", [0.0, 0.5, 1.0])
def test_a_share_of_genders_changes_nothing_where_everybody_is_alone(same):
    speakers = speakers_of([4] * 20)
    plan = {"sizes": 1, "num_mixtures": 300, "num_shards": 4}
    tables = lay(speakers, **plan, genders=GenderShare(speakers < 10, same))
    assert (tables.max_uses > 1) == (lay(speakers, **plan).max_uses > 1)
    uses = uses_of(all_mixtures(tables, 4), len(speakers))
    assert uses.max() - uses.min() <= 1


@pytest.mark.parametrize("same", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("sizes", [[2], [3], [1, 2, 3]])
def test_the_share_of_genders_holds_in_any_stretch(sizes, same):
    speakers = speakers_of([20] * 80)
    genders = GenderShare(speakers < 40, same)
    tables = lay(speakers, sizes, num_mixtures=6000, num_shards=48, genders=genders)
    alike = np.array(
        [
            len(set((speakers[group] < 40).tolist())) == 1
            for group in all_mixtures(tables, 48)
            if len(group) > 1
        ]
    )
    for start in range(0, len(alike) - 400, 200):
        assert alike[start : start + 400].mean() == pytest.approx(same, abs=0.04)


@given(
    st.lists(st.integers(1, 40), min_size=6, max_size=20),
    st.sampled_from([[2], [3], [4], [5], [1, 2, 3], [2, 3, 2]]),
    st.integers(40, 300),
)
def test_several_buckets_of_the_pairing_keep_the_promises_of_one(counts, sizes, num_mixtures):
    assume(max(counts) * (max(sizes) + 1) <= sum(counts))
    speakers = speakers_of(counts)
    with patch.object(pairing, "BUCKET_SIZE", 60):
        mixtures = all_mixtures(lay(speakers, sizes, num_mixtures=num_mixtures, num_shards=5), 5)
    assert all(len(set(speakers[group])) == len(group) for group in mixtures)
    assert len(mixtures) == num_mixtures
