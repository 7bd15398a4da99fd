import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_datasets import RECIPE
from test_planning import options, table, utterance

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.quality.expectations import compare_with_config
from beam_jobs.quality.measurements import Measurements
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.gender_share import GenderShare
from beam_jobs.recipes.group_sizes import GroupSizes
from beam_jobs.recipes.pairing import Pairing
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.recipes.presets import load_recipe_config
from schemas.recipe_config import parse_recipe_config
from schemas.validation import InvalidDocumentError


def pair(num_women, num_men, group_size, same, utterances_each=4):
    """Returns a pairing, with the speaker of each utterance and whether it is a woman's."""
    counts = np.full(num_women + num_men, utterances_each)
    speakers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    shuffled = np.random.default_rng(1).permutation(len(speakers))
    speakers, women = speakers[shuffled], (speakers < num_women)[shuffled]
    genders = GenderShare(women, same)
    sizes = GroupSizes([group_size] if isinstance(group_size, int) else group_size)
    return Pairing(speakers, sizes=sizes, key=(0,), genders=genders), speakers, women


def share_of_one_gender(groups, women):
    return np.mean([len(set(women[group].tolist())) == 1 for group in groups])


@settings(max_examples=60)
@given(
    st.integers(6, 20),
    st.integers(6, 20),
    st.one_of(st.integers(2, 5), st.lists(st.integers(1, 5), min_size=2, max_size=4)),
    st.floats(0, 1),
    st.integers(1, 150),
)
def test_speakers_are_apart_and_use_stays_even(num_women, num_men, group_size, same, num_groups):
    paired, speakers, _ = pair(num_women, num_men, group_size, same)
    groups = list(paired.groups(0, num_groups))
    assert all(len(set(speakers[group].tolist())) == len(group) for group in groups)
    uses = np.bincount(np.concatenate(groups), minlength=len(speakers))
    assert uses.max() - uses.min() <= 1


@pytest.mark.parametrize("same", [0.0, 0.1, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("group_size", [2, 3, 5, (1, 2, 3), (2, 2, 4)])
def test_the_share_is_the_one_that_was_asked_for(group_size, same):
    paired, _, women = pair(60, 60, group_size, same)
    for num_groups in (50, 400, 1000):
        groups = [group for group in paired.groups(0, num_groups) if len(group) > 1]
        off_by_two = 2 / len(groups)
        assert share_of_one_gender(groups, women) == pytest.approx(same, abs=max(0.03, off_by_two))


def test_women_and_men_both_meet_their_like():
    paired, _, women = pair(40, 40, 2, 0.5)
    kinds = Counter(tuple(sorted(women[group].tolist())) for group in paired.groups(0, 2000))
    assert kinds[False, False] == pytest.approx(500, abs=60)
    assert kinds[True, True] == pytest.approx(500, abs=60)


def test_who_starts_a_mixture_of_both_is_left_to_chance():
    paired, _, women = pair(40, 40, 2, 0.0)
    firsts = [women[group[0]] for group in paired.groups(0, 1000)]
    assert np.mean(firsts) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    ("num_women", "num_men", "asked", "nearest"),
    [(10, 30, 0.0, 0.5), (0, 20, 0.3, 1.0), (1, 3, 1.0, 0.5), (2, 18, 1.0, 1.0)],
)
def test_where_the_genders_do_not_make_the_share_it_is_the_nearest(
    num_women, num_men, asked, nearest
):
    paired, speakers, women = pair(num_women, num_men, 2, asked)
    groups = list(paired.groups(0, 400))
    assert share_of_one_gender(groups, women) == pytest.approx(nearest, abs=0.03)
    assert all(len(set(speakers[group].tolist())) == 2 for group in groups)


@given(st.integers(0, 80), st.integers(1, 80), st.floats(0, 1))
@settings(max_examples=20)
def test_a_stretch_is_the_same_without_what_comes_before_it(start, length, same):
    paired, *_ = pair(9, 7, 3, same)
    whole = list(paired.groups(0, start + length))
    again, *_ = pair(9, 7, 3, same)
    np.testing.assert_array_equal(list(again.groups(start, start + length)), whole[start:])


def a_catalogue(genders, num_utterances=4):
    return Catalogue(
        table(
            dataclasses.replace(utterance(f"speaker{speaker}", number), gender=gender)
            for speaker, gender in enumerate(genders)
            for number in range(num_utterances)
        )
    )


def plan_of(genders, **changes):
    asked = {"splits": "train=1", "same_gender_share": 0.5} | changes
    return DrawnPlan(a_catalogue(genders), options(**asked))


def genders_of(plan):
    return [
        {source.gender for source in draft.recipe.sources}
        for shard in plan.shards
        for draft in plan.drafts(shard)
    ]


def test_half_of_the_mixtures_are_of_one_gender():
    found = genders_of(plan_of("fm" * 20, num_mixtures=200))
    assert sum(len(genders) == 1 for genders in found) == pytest.approx(100, abs=4)


def test_conversations_have_the_share_too():
    talk = load_recipe_config("conversation").conversation
    plan = plan_of("fm" * 20, num_mixtures=100, offset_s=None, conversation=talk)
    found = genders_of(plan)
    assert sum(len(genders) == 1 for genders in found) == pytest.approx(50, abs=4)


def test_speakers_of_unknown_gender_are_left_out():
    plan = plan_of(["f", "m", "f", "m", "", ""])
    used = {
        source.speaker
        for shard in plan.shards
        for draft in plan.drafts(shard)
        for source in draft.recipe.sources
    }
    assert used == {"speaker0", "speaker1", "speaker2", "speaker3"}


def test_what_takes_the_place_of_an_unusable_utterance_is_of_the_same_gender():
    plan = plan_of("fm" * 8, same_gender_share=1.0)
    for draft in plan.drafts(plan.shards[0]):
        replaced = plan.redraft(draft, {draft.entries[0]})
        assert replaced.entries[0] != draft.entries[0]
        assert {one.gender for one in replaced.recipe.sources} == {draft.recipe.sources[1].gender}


def test_a_corpus_without_genders_is_told():
    with pytest.raises(
        NothingToDoError, match="same_gender_share and this corpus do not go together"
    ):
        plan_of([""] * 8)


def test_the_report_says_which_share_came_of_it():
    config = options(same_gender_share=0.5, level_kind="gain_db").config

    def row(genders, **counts):
        measurements = Measurements()
        measurements.genders.update(counts)
        (share,) = compare_with_config(measurements, config, np.array(list(genders)))
        return share.asked, share.achieved

    assert row("fm", one=52, both=48) == ("50.0%", "52.0%")
    assert row("fm", one=100) == (
        "50.0%",
        "100.0%, the nearest that the genders in the corpus make",
    )
    assert row(["f", "m", "", ""], one=50, both=50) == (
        "50.0%",
        "50.0%; 2 utterances without a gender are left out",
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"same_gender_share": 1.5}, r"\$\.same_gender_share: "),
        (
            {"same_gender_share": 0.5, "num_speakers": 1},
            "same_gender_share and num_speakers 1 do not go together",
        ),
    ],
)
def test_a_share_that_can_not_be_is_told(changes, complaint):
    with pytest.raises(InvalidDocumentError, match=f"^recipe.json: {complaint}"):
        parse_recipe_config(json.dumps(RECIPE | changes), "recipe.json")
