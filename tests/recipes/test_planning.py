import dataclasses
import itertools
import json
import os
import pickle
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_datasets import RECIPE, REPOSITORY

from beam_jobs.corpora.catalogue import SCHEMA, Catalogue, open_catalogue, write_table
from beam_jobs.recipes.drawing import draw_recipe
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import NothingToDoError, NoUtteranceLeftError, PlanOptions
from beam_jobs.recipes.presets import load_recipe_config, preset_names
from beam_jobs.recipes.splits import parse_shares
from schemas.mixture_job import MixtureJob, parse_mixture_job
from schemas.recipe import Utterance, parse_recipe
from schemas.recipe_config import RecipeConfig, Uniform, parse_recipe_config
from schemas.validation import InvalidDocumentError

RATES = st.sampled_from([1000, 8000, 11025, 16000, 22050, 44100, 48000])
THREE_SPLITS = "train=0.6,validation=0.2,test=0.2"


def utterance(speaker, number, *, duration_s=1.0, sample_rate=8000, split=""):
    return Utterance(
        id=f"{speaker}/{number}",
        corpus="corpus",
        path=f"{speaker}/{number}.flac",
        speaker=speaker,
        gender="",
        split=split,
        start=0,
        stop=max(round(duration_s * sample_rate), 1),
        sample_rate=sample_rate,
        num_channels=1,
    )


def table(utterances):
    rows = [dataclasses.asdict(one) for one in utterances]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def a_table(num_speakers=20, num_utterances=4):
    return table(
        utterance(f"speaker{speaker}", number)
        for speaker in range(num_speakers)
        for number in range(num_utterances)
    )


def a_catalogue(num_speakers=20):
    return Catalogue(a_table(num_speakers))


def config(**changes):
    return dataclasses.replace(parse_recipe_config(json.dumps(RECIPE), "recipe"), **changes)


def options(*, splits=THREE_SPLITS, seed=0, num_mixtures=0, num_shards=0, **changes):
    return PlanOptions(
        config=config(**changes),
        seed=seed,
        shares=parse_shares(splits) if splits else {},
        num_mixtures=num_mixtures,
        num_shards=num_shards,
    )


def a_recipe(config, seed, utterances):
    """Draws a recipe for a mixture of some utterances."""
    return draw_recipe(
        config, seed=seed, mixture_id="train-000000001", split="train", utterances=utterances
    )


def ids_of(plan):
    return [draft.recipe.id for shard in plan.shards for draft in plan.drafts(shard)]


UNIFORMS = st.tuples(
    st.floats(0, 10, allow_subnormal=False), st.floats(0, 10, allow_subnormal=False)
).map(lambda pair: Uniform(*sorted(pair)))
CONFIGS = st.builds(
    RecipeConfig,
    description=st.text(max_size=20),
    num_speakers=st.one_of(
        st.integers(1, 10), st.lists(st.integers(1, 10), min_size=1, max_size=4).map(tuple)
    ),
    offset_s=UNIFORMS,
    level_kind=st.sampled_from(["gain_db", "loudness_lufs", "relative_db"]),
    level=UNIFORMS,
    length=st.one_of(st.sampled_from(["min", "max"]), st.floats(0.01, 20)),
    sample_rate=RATES,
    channels=st.one_of(st.just("average"), st.integers(0, 7)),
)


@st.composite
def drawn(draw, configs=CONFIGS):
    """Draws a configuration, utterances for it, and the recipe that is made from both."""
    chosen = draw(configs)
    utterances = [
        utterance(
            f"speaker{number}", number, duration_s=draw(st.floats(0.1, 8)), sample_rate=draw(RATES)
        )
        for number in range(draw(st.sampled_from(chosen.speaker_numbers)))
    ]
    recipe = a_recipe(chosen, draw(st.integers()), utterances)
    return chosen, utterances, recipe


@given(drawn())
def test_every_recipe_is_read_back_from_its_json(drawn):
    *_, recipe = drawn
    assert parse_recipe(recipe.to_json(), "recipe") == recipe


@given(CONFIGS)
def test_every_configuration_is_read_back_from_its_json(config):
    assert parse_recipe_config(json.dumps(config.to_document()), "recipe") == config


@given(CONFIGS, st.integers(), st.text(max_size=9))
def test_what_a_job_was_asked_for_is_read_back_from_its_json(config, seed, name):
    job = MixtureJob((name,), config, seed, "corpus", 5, 0, "GZIP", ("numpy 1",))
    again = parse_mixture_job(job.to_json(), "job.json")
    assert again == job
    assert job.differences(again) == []
    assert job.differences(dataclasses.replace(job, seed=seed + 1)) == [
        f"seed: {seed} there, {seed + 1} here"
    ]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_speakers": 11}, r"\$\.num_speakers: 11 is greater than the maximum of 10"),
        ({"num_speakers": {"choices": []}}, r"\$\.num_speakers\.choices: \[\] should be non-empty"),
        ({"num_speakers": {"choices": [2, 0]}}, r"\$\.num_speakers\.choices\[1\]: 0 is less than"),
        ({"offset_s": -1}, r"\$\.offset_s: "),
        ({"offset_s": {"uniform": [5, 1]}}, "offset_s: the range ends before it starts"),
        ({"level": {"gain_db": 0, "relative_db": 0}}, r"\$\.level: "),
        ({"ofset_s": 1}, r"\$: unknown key 'ofset_s' \(did you mean 'offset_s'\?\)"),
        ({"version": 2}, r"\$\.version: 1 was expected"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_where(changes, complaint):
    with pytest.raises(InvalidDocumentError, match=f"^recipe.json: {complaint}"):
        parse_recipe_config(json.dumps(RECIPE | changes), "recipe.json")


def test_the_presets_are_there_by_name():
    assert {"overlay", "overlay_gain", "librimix", "wsj0mix"} <= set(preset_names())
    for name in preset_names():
        expected = 4 if name == "meeting" else 2
        assert load_recipe_config(name).num_speakers == expected


@given(drawn())
def test_a_source_stays_within_its_utterance_and_its_mixture(drawn):
    _, utterances, recipe = drawn
    for source, one in zip(recipe.sources, utterances, strict=True):
        assert one.start <= source.start <= source.stop <= one.stop
        assert 0 <= round(source.offset_s * recipe.sample_rate) <= recipe.num_samples
        # A frame of the file may reach beyond a sample of the mixture.
        end_s = source.offset_s + source.duration_s
        assert end_s <= recipe.duration_s + 1 / source.file_sample_rate + 1 / recipe.sample_rate


@given(drawn(CONFIGS.map(lambda config: dataclasses.replace(config, length="max"))))
def test_max_keeps_everything(drawn):
    config, utterances, recipe = drawn
    for source, one in zip(recipe.sources, utterances, strict=True):
        assert (source.start, source.stop) == (one.start, one.stop)
    ends_s = [source.offset_s + source.duration_s for source in recipe.sources]
    assert recipe.duration_s == pytest.approx(max(ends_s), abs=1 / recipe.sample_rate)
    gaps = [
        later.offset_s - earlier.offset_s for earlier, later in itertools.pairwise(recipe.sources)
    ]
    step = 2 / recipe.sample_rate
    assert all(config.offset_s.low - step <= gap <= config.offset_s.high + step for gap in gaps)


@given(
    drawn(
        CONFIGS.map(
            lambda config: dataclasses.replace(config, length="min", offset_s=Uniform(0, 0))
        )
    )
)
def test_min_ends_with_the_source_that_ends_first(drawn):
    _, utterances, recipe = drawn
    shortest_s = min(one.duration_s for one in utterances)
    assert recipe.duration_s == pytest.approx(shortest_s, abs=1 / recipe.sample_rate)
    assert all(source.duration_s > 0 for source in recipe.sources)


@given(drawn(), st.floats(0.01, 12))
def test_a_number_of_seconds_is_the_length_whatever_the_utterances(drawn, length_s):
    config, utterances, _ = drawn
    config = dataclasses.replace(config, length=length_s)
    recipe = a_recipe(config, 0, utterances)
    assert recipe.num_samples == max(round(length_s * config.sample_rate), 1)


@given(
    st.floats(0.5, 3),
    st.floats(0.5, 3),
    st.floats(0, 0.4),
    st.floats(0.1, 2.5),
    st.integers(0, 100),
)
def test_a_crop_keeps_as_much_overlap_as_there_is(first_s, second_s, gap_s, length_s, seed):
    utterances = [
        utterance("anna", 0, duration_s=first_s),
        utterance("bert", 0, duration_s=second_s),
    ]
    whole, crop = (
        a_recipe(config(offset_s=Uniform(gap_s, gap_s), length=length), seed, utterances)
        for length in ("max", length_s)
    )
    overlap_s = whole.overlap_ratio * whole.duration_s
    kept_s = crop.overlap_ratio * min(crop.duration_s, whole.duration_s)
    assert kept_s == pytest.approx(min(overlap_s, length_s), abs=3 / 8000)


@pytest.mark.parametrize("num_speakers", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("length", ["min", "max", 0.4])
def test_one_to_ten_speakers_meet(num_speakers, length):
    asked = options(splits="train=1", num_speakers=num_speakers, length=length)
    plan = DrawnPlan(a_catalogue(), asked)
    for shard in plan.shards:
        for draft in plan.drafts(shard):
            recipe = draft.recipe
            assert len({source.speaker for source in recipe.sources}) == num_speakers
            assert len(recipe.sources) == num_speakers


@pytest.mark.parametrize("num_mixtures", [0, 100, 1001])
@pytest.mark.parametrize("numbers", [(1, 2, 3), (2, 1, 2, 3), (7, 10)])
def test_several_numbers_of_speakers_have_the_shares_that_were_asked_for(numbers, num_mixtures):
    asked = options(splits="train=1", num_speakers=numbers, num_mixtures=num_mixtures)
    plan = DrawnPlan(a_catalogue(), asked)
    recipes = [draft.recipe for shard in plan.shards for draft in plan.drafts(shard)]
    for start in range(0, max(len(recipes) - 40, 1), 7):
        stretch = recipes[start : start + 40]
        found = Counter(len(recipe.sources) for recipe in stretch)
        for number, count in Counter(numbers).items():
            assert found[number] == pytest.approx(len(stretch) * count / len(numbers), abs=3)
    uses = Counter(source.utterance for recipe in recipes for source in recipe.sources)
    assert max(uses.values()) - min(uses.values()) <= 1
    if num_mixtures:
        assert len(recipes) == num_mixtures
        assert len(uses) == 80
    else:
        # Utterances that fill no mixture are left.
        assert 80 - max(numbers) < len(uses) <= 80


def test_with_several_numbers_of_speakers_a_shard_is_planned_alone():
    asked = options(num_speakers=(1, 2, 3), num_mixtures=500, num_shards=5)
    whole = DrawnPlan(a_catalogue(40), asked)
    for shard in whole.shards:
        alone = DrawnPlan(a_catalogue(40), asked)
        assert list(alone.drafts(shard)) == list(whole.drafts(shard))


def test_conversations_are_of_several_numbers_of_speakers_too():
    talk = load_recipe_config("conversation").conversation
    asked = options(
        splits="train=1",
        num_speakers=(1, 2, 3),
        num_mixtures=12,
        offset_s=None,
        conversation=dataclasses.replace(
            talk, speech_s=4, pause_probability=0.3, dominance=0.2, three_at_once=0.1
        ),
    )
    plan = DrawnPlan(a_catalogue(), asked)
    recipes = [draft.recipe for shard in plan.shards for draft in plan.drafts(shard)]
    assert Counter(len(recipe.rows) for recipe in recipes) == {1: 4, 2: 4, 3: 4}


def test_levels_over_the_first_source_are_drawn_for_the_others():
    plan = DrawnPlan(a_catalogue(), options(level_kind="relative_db", level=Uniform(1, 5)))
    for draft in plan.drafts(plan.shards[0]):
        first, second = draft.recipe.sources
        assert first.level_kind == second.level_kind == "rms_dbfs"
        assert 1 <= first.level - second.level <= 5


@given(st.integers(1, 300), st.integers(0, 40), st.integers(1, 5))
def test_shards_cover_all_mixtures_once_and_in_order(num_mixtures, num_shards, num_speakers):
    plan = DrawnPlan(
        a_catalogue(),
        options(num_mixtures=num_mixtures, num_shards=num_shards, num_speakers=num_speakers),
    )
    assert sum(plan.counts.values()) == num_mixtures
    ids = ids_of(plan)
    for split, count in Counter(mixture_id.split("-")[0] for mixture_id in ids).items():
        in_split = [mixture_id for mixture_id in ids if mixture_id.startswith(split)]
        assert in_split == [f"{split}-{number:09d}" for number in range(count)]
    assert len(set(ids)) == len(ids) == num_mixtures
    assert all(any(plan.drafts(shard)) for shard in plan.shards)


def test_no_speaker_stands_in_two_splits():
    plan = DrawnPlan(a_catalogue(), options(num_mixtures=500))
    speakers = {}
    for shard in plan.shards:
        for draft in plan.drafts(shard):
            for source in draft.recipe.sources:
                assert speakers.setdefault(source.speaker, shard.split) == shard.split
    assert len(speakers) == 20


def test_without_a_number_every_utterance_is_used_once():
    plan = DrawnPlan(a_catalogue(), options())
    used = [
        entry for shard in plan.shards for draft in plan.drafts(shard) for entry in draft.entries
    ]
    assert sorted(used) == list(range(80))


def test_nobody_is_heard_with_more_utterances_than_asked():
    talker = [utterance("talker", number) for number in range(50)]
    others = [utterance(f"speaker{speaker}", n) for speaker in range(20) for n in range(2)]
    catalogue = Catalogue(table([*talker, *others]))
    plan = DrawnPlan(catalogue, options(splits="train=1", max_utterances_per_speaker=3))
    used = Counter(
        source.speaker
        for shard in plan.shards
        for draft in plan.drafts(shard)
        for source in draft.recipe.sources
    )
    assert used["talker"] == 3
    assert used.total() in {42, 44}


def test_the_seed_changes_the_mixtures_and_not_the_splits():
    first, second = (DrawnPlan(a_catalogue(), options(seed=seed)) for seed in (0, 1))
    assert first.speaker_splits == second.speaker_splits
    shard = first.shards[0]
    assert list(first.drafts(shard)) != list(second.drafts(shard))


def test_more_speakers_move_no_one_from_test_to_train():
    shares = "train=0.5,test=0.5"
    few, many = (
        DrawnPlan(a_catalogue(num_speakers), options(splits=shares)).speaker_splits
        for num_speakers in (20, 21)
    )
    assert sum(few[name] != many[name] for name in few) <= 1


def test_a_speaker_whom_the_corpus_has_in_two_splits_is_held_out():
    placed = {"anna": ["train", "train", "train", "test"], "bert": ["test"] * 3}
    placed |= {"carl": ["train"] * 3, "dora": ["train"] * 3}
    utterances = [
        utterance(speaker, number, split=split)
        for speaker, splits in placed.items()
        for number, split in enumerate(splits)
    ]
    plan = DrawnPlan(Catalogue(table(utterances)), options(splits="", num_mixtures=40))
    used = {"train": set(), "test": set()}
    for shard in plan.shards:
        for draft in plan.drafts(shard):
            recipe = draft.recipe
            used[shard.split] |= {source.utterance for source in recipe.sources}
    assert used["test"] == {"anna/3", "bert/0", "bert/1", "bert/2"}
    assert {name.split("/")[0] for name in used["train"]} == {"carl", "dora"}


@pytest.mark.parametrize(
    ("num_speakers", "complaint"),
    [
        (0, "no usable utterance"),
        (1, "no split has the 2 speakers of a mixture, all together have 1"),
    ],
)
def test_too_little_to_do_is_told(num_speakers, complaint):
    with pytest.raises(NothingToDoError, match=complaint):
        DrawnPlan(a_catalogue(num_speakers), options())


@given(st.sets(st.integers(0, 79), max_size=40))
def test_what_takes_the_place_of_an_unusable_utterance_is_usable_and_of_another_speaker(unusable):
    speakers = (catalogue_ := a_catalogue()).speakers
    plan = DrawnPlan(catalogue_, options(splits="train=1"))
    for draft in plan.drafts(plan.shards[0]):
        entries, replaced = draft.entries, plan.redraft(draft, unusable).entries
        assert not unusable & set(replaced)
        assert len({speakers[entry] for entry in replaced}) == 2
        assert [new for new, old in zip(replaced, entries, strict=True) if old not in unusable] == [
            entry for entry in entries if entry not in unusable
        ]


IN_A_PROCESS = """
import pickle, sys
from beam_jobs.corpora.catalogue import open_catalogue
from beam_jobs.recipes.drawn_plan import DrawnPlan

plan = DrawnPlan(open_catalogue(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2])))
for shard in plan.shards[:: int(sys.argv[3])]:
    for draft in plan.drafts(shard):
        print(draft.recipe.to_json())
"""


def test_neither_process_nor_order_changes_a_recipe(tmp_path):
    path = str(tmp_path / "catalogue.arrow")
    asked = options(num_mixtures=100, num_speakers=3)
    write_table(path, [a_table()])
    plan = DrawnPlan(open_catalogue(path), asked)
    expected = [draft.recipe.to_json() for shard in plan.shards for draft in plan.drafts(shard)]
    for hash_seed, step in (("1", "1"), ("2", "-1")):
        recipes = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, path, pickle.dumps(asked).hex(), step],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(REPOSITORY)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        assert sorted(recipes) == sorted(expected)


def test_what_is_put_in_place_is_the_same_whatever_was_replaced_before():
    plan = DrawnPlan(a_catalogue(), options(splits="train=1"))
    drafts = list(plan.drafts(plan.shards[0]))
    unusable = set(drafts[0].entries)
    alone = plan.redraft(drafts[0], unusable)
    for draft in reversed(drafts):
        last = plan.redraft(draft, unusable)
    assert last == alone


def test_a_split_without_another_utterance_says_so():
    plan = DrawnPlan(a_catalogue(2), options(splits="train=1"))
    draft = next(plan.drafts(plan.shards[0]))
    with pytest.raises(NoUtteranceLeftError):
        plan.redraft(draft, {entry for entry in range(8) if entry != draft.entries[0]})
