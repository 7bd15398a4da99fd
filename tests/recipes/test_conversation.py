"""Conversations: the turns of their speakers, and the datasets made from them."""

import dataclasses
import itertools
import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from small_datasets import RECIPE, SAMPLE_RATE, build, voice, write_corpus
from test_planning import a_recipe, options, table, utterance

from beam_jobs import verify_dataset
from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.recipes.conversation import conversation_offsets, divide_into_runs, turn_changes
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import NoUtteranceLeftError
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.random_numbers import draw, keyed_uniforms
from schemas.recipe import parse_recipe
from schemas.recipe_config import (
    Conversation,
    LogNormal,
    NoiseConfig,
    Uniform,
    parse_recipe_config,
)
from schemas.validation import InvalidDocumentError

PRESET = load_recipe_config("conversation")
TURNS = {
    "speech_s": 3,
    "pause_s": {"uniform": [0.05, 0.2]},
    "gap_s": {"uniform": [0.05, 0.1]},
    "overlap_s": {"uniform": [0.05, 0.15]},
    "overlap_probability": 0.5,
}
DURATIONS = st.one_of(
    st.builds(LogNormal, median=st.floats(0.01, 3), sigma=st.floats(0, 2)),
    st.tuples(st.floats(0, 1), st.floats(1, 3)).map(lambda ends: Uniform(*ends)),
)
CONVERSATIONS = st.builds(
    Conversation,
    speech_s=st.floats(1, 200),
    pause_s=DURATIONS,
    gap_s=DURATIONS,
    overlap_s=DURATIONS,
    overlap_probability=st.floats(0, 1),
)
SPOKEN = st.lists(
    st.lists(st.integers(100, 100_000), min_size=1, max_size=12), min_size=1, max_size=5
)


def spans_of(lengths, offsets):
    return [
        [(start, start + length) for start, length in zip(starts, own, strict=True)]
        for starts, own in zip(offsets, lengths, strict=True)
    ]


def test_the_noisy_preset_is_the_conversation_with_noise():
    noisy = load_recipe_config("conversation_noisy")
    assert noisy.noise == NoiseConfig("snr_db", Uniform(5, 20))
    assert dataclasses.replace(noisy, noise=None, description=PRESET.description) == PRESET


@settings(max_examples=150)
@given(SPOKEN, CONVERSATIONS, st.integers())
def test_nobody_overlaps_himself_and_never_do_three_speak(lengths, conversation, seed):
    offsets = conversation_offsets(lengths, conversation, 8000, keyed_uniforms(seed))
    spans = spans_of(lengths, offsets)
    for own in spans:
        assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(own))
    changes = sorted((place, change) for own in spans for span in own
                     for place, change in zip(span, (1, -1), strict=True))  # fmt: skip
    assert max(itertools.accumulate(change for _, change in changes)) <= 2
    firsts = [own[0][0] for own in spans]
    assert firsts == sorted(firsts)
    assert firsts[0] == 0


@given(SPOKEN, CONVERSATIONS, st.integers())
def test_the_same_key_gives_the_same_conversation(lengths, conversation, seed):
    first, second = (
        conversation_offsets(lengths, conversation, 8000, keyed_uniforms(seed)) for _ in range(2)
    )
    assert first == second


def test_pauses_gaps_and_overlaps_have_the_distribution_that_was_asked_for():
    found = {"pause_s": [], "gap_s": [], "turn_overlap_s": []}
    for seed in range(300):
        utterances = [
            utterance(speaker, number, duration_s=4 + number / 7, sample_rate=16000)
            for speaker in ("anna", "bert")
            for number in range(10)
        ]
        recipe = a_recipe(PRESET, seed, utterances)
        for kind, duration_s in turn_changes(recipe):
            found[kind].append(duration_s)
    asked = PRESET.conversation
    pairs = {"pause_s": asked.pause_s, "gap_s": asked.gap_s, "turn_overlap_s": asked.overlap_s}
    for kind, distribution in pairs.items():
        assert np.median(found[kind]) == pytest.approx(distribution.median, rel=0.07)
        spread = np.std(np.log(np.maximum(found[kind], 1e-3)))
        assert spread == pytest.approx(distribution.sigma, rel=0.12)
    changes = len(found["gap_s"]) + len(found["turn_overlap_s"])
    assert len(found["turn_overlap_s"]) / changes == pytest.approx(0.5, abs=0.03)


def test_log_normal_numbers_have_their_median_and_spread():
    uniforms = keyed_uniforms("numbers")
    logarithms = np.log([draw(LogNormal(0.36, 0.8), uniforms) for _ in range(20_000)])
    assert np.exp(np.median(logarithms)) == pytest.approx(0.36, rel=0.03)
    assert np.std(logarithms) == pytest.approx(0.8, rel=0.03)


@given(
    st.lists(st.lists(st.floats(0.1, 30), min_size=1, max_size=30), min_size=1, max_size=8),
    st.floats(0.5, 60),
)
def test_runs_have_every_utterance_once_and_are_of_one_speaker(durations_s, run_s):
    speakers = np.repeat(np.arange(len(durations_s)), [len(own) for own in durations_s])
    shuffled = np.random.default_rng(0).permutation(len(speakers))
    speakers = speakers[shuffled].astype(np.int32)
    flat = np.concatenate(durations_s)[shuffled]
    runs = divide_into_runs(speakers, flat, run_s)
    members = [runs[number] for number in range(len(runs.firsts))]
    assert sorted(np.concatenate(members)) == list(range(len(speakers)))
    for own in members:
        assert len(own) >= 1
        assert len(set(speakers[own])) == 1
        # As long as asked for, give or take an utterance, which can't be divided.
        assert flat[own].sum() <= 2 * run_s + 2 * flat[own].max()


def conversation_options(**changes):
    turns = dataclasses.replace(PRESET.conversation, speech_s=8.0)
    return options(offset_s=None, conversation=turns, **changes)


def a_catalogue(counts):
    return Catalogue(
        table(
            utterance(f"speaker{speaker}", number, duration_s=0.5 + number % 5 / 4)
            for speaker, count in enumerate(counts)
            for number in range(count)
        )
    )


@settings(max_examples=12)
@given(
    st.lists(st.integers(1, 30), min_size=5, max_size=20),
    st.integers(1, 4),
    st.integers(1, 60),
)
def test_speakers_are_apart_and_utterances_are_used_evenly(counts, num_speakers, num_mixtures):
    asked = conversation_options(
        splits="train=1", num_mixtures=num_mixtures, num_speakers=num_speakers, num_shards=2
    )
    catalogue = a_catalogue(counts)
    plan = DrawnPlan(catalogue, asked)
    uses, runs = Counter(), Counter()
    for shard in plan.shards:
        for draft in plan.drafts(shard):
            recipe = draft.recipe
            assert len(recipe.rows) == num_speakers
            names = [{source.speaker for source in sources} for sources in recipe.rows]
            assert all(len(name) == 1 for name in names)
            assert len(set.union(*names)) == num_speakers
            assert [source.utterance for source in recipe.sources] == [
                one.id for one in catalogue.utterances(np.array(draft.entries))
            ]
            assert parse_recipe(recipe.to_json(), "recipe") == recipe
            uses.update(draft.entries)
            runs.update(tuple(source.utterance for source in row) for row in recipe.rows)
    # Runs are used evenly, unless a speaker has more of them than there are conversations.
    most = max(Counter(run[0].partition("/")[0] for run in runs).values())
    if most * num_speakers <= len(runs) and len(uses) == sum(counts):
        assert max(runs.values()) - min(runs.values()) <= 1
        assert max(uses.values()) - min(uses.values()) <= 1


def test_speakers_with_one_utterance_have_one_turn():
    plan = DrawnPlan(a_catalogue([1] * 12), conversation_options(splits="train=1"))
    recipes = [draft.recipe for shard in plan.shards for draft in plan.drafts(shard)]
    assert len(recipes) == 6
    assert all([len(sources) for sources in recipe.rows] == [1, 1] for recipe in recipes)


def test_without_what_is_unusable_a_speaker_goes_on_with_the_rest():
    plan = DrawnPlan(a_catalogue([10] * 4), conversation_options(splits="train=1"))
    draft = next(plan.drafts(plan.shards[0]))
    left_out = plan.redraft(draft, {draft.entries[0], draft.entries[-1]})
    assert left_out.entries == draft.entries[1:-1]
    assert len(left_out.recipe.rows) == 2


def test_a_speaker_without_anything_usable_is_replaced():
    catalogue = a_catalogue([10] * 4)
    plan = DrawnPlan(catalogue, conversation_options(splits="train=1"))
    draft = next(plan.drafts(plan.shards[0]))
    first = draft.recipe.sources[0].speaker
    gone = {
        entry
        for entry, source in zip(draft.entries, draft.recipe.sources, strict=True)
        if source.speaker == first
    }
    recipe = plan.redraft(draft, gone).recipe
    speakers = [sources[0].speaker for sources in recipe.rows]
    assert len(set(speakers)) == 2
    assert speakers[1] == draft.recipe.sources[-1].speaker
    with pytest.raises(NoUtteranceLeftError):
        plan.redraft(draft, set(range(40)))


@given(st.integers(), st.floats(0.5, 20))
def test_a_conversation_is_cut_to_a_number_of_seconds(seed, length_s):
    config = dataclasses.replace(PRESET, length=length_s)
    utterances = [utterance(name, number) for name in ("anna", "bert") for number in range(6)]
    recipe = a_recipe(config, seed, utterances)
    assert recipe.duration_s == pytest.approx(length_s, abs=1e-3)
    assert parse_recipe(recipe.to_json(), "recipe") == recipe
    for source in recipe.sources:
        assert 0 <= source.offset_s <= recipe.duration_s
        assert source.offset_s + source.duration_s <= recipe.duration_s + 1e-3


def test_a_stretch_of_a_conversation_has_two_speakers():
    config = dataclasses.replace(PRESET, length=4.0)
    utterances = [
        utterance(name, number, duration_s=15) for name in ("anna", "bert") for number in range(4)
    ]
    recipes = [a_recipe(config, seed, utterances) for seed in range(300)]
    heard = [
        all(any(source.duration_s for source in sources) for sources in recipe.rows)
        for recipe in recipes
    ]
    # Now and then the gap before the second speaker fills the rest of the stretch.
    assert np.mean(heard) > 0.97


def test_a_conversation_does_not_end_with_the_first_utterance():
    document = {name: value for name, value in RECIPE.items() if name != "offset_s"}
    document |= {"conversation": TURNS, "length": "min"}
    with pytest.raises(
        InvalidDocumentError, match=r"^r\.json: conversation and length min do not go together"
    ):
        parse_recipe_config(json.dumps(document), "r.json")
    with pytest.raises(InvalidDocumentError, match="conversation and length min"):
        load_recipe_config("conversation", length="min")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"offset_s": 0.0}, "row 0 has 'anna/1' begin before the one before it has ended"),
        ({"speaker": "carl"}, "row 0 has two speakers, or two levels"),
        ({"level": 3.0}, "row 0 has two speakers, or two levels"),
        ({"row": 1}, "row 1 has two speakers, or two levels"),
        ({"row": 4}, "sources are not in the order of their rows"),
    ],
)
def test_rows_that_nobody_can_have_said_are_told(changes, complaint):
    utterances = [utterance(name, number) for name in ("anna", "bert") for number in range(2)]
    recipe = a_recipe(PRESET, 0, utterances)
    sources = list(recipe.sources)
    sources[1] = dataclasses.replace(sources[1], **changes)
    broken = dataclasses.replace(recipe, sources=tuple(sources))
    with pytest.raises(InvalidDocumentError, match=f"^line 1: {complaint}"):
        parse_recipe(broken.to_json(), "line 1")


ASKED = ("--splits=train=0.5,test=0.5", "--num_mixtures=8", "--num_shards=2")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Writes a corpus in which two speakers have one utterance each, and a recipe for it."""
    folder = tmp_path_factory.mktemp("speech")
    corpus = write_corpus(folder / "corpus", num_speakers=6, num_utterances=7)
    for name, pitch_hz in (("short1", 300), ("short2", 330)):
        (corpus / name).mkdir()
        soundfile.write(corpus / name / "0.flac", voice(pitch_hz, 0.8), SAMPLE_RATE)
    document = {name: value for name, value in RECIPE.items() if name != "offset_s"}
    document |= {"conversation": TURNS, "level": {"loudness_lufs": {"uniform": [-30, -20]}}}
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(document), "utf-8")
    return corpus, recipe


@pytest.fixture(scope="module")
def built(places, tmp_path_factory):
    corpus, recipe = places
    return build(
        f"--recipe={recipe}",
        *ASKED,
        "--direct_running_mode=in_memory",
        "--direct_num_workers=1",
        corpus=corpus,
        output=tmp_path_factory.mktemp("built") / "talks",
    )


def test_a_row_has_all_utterances_of_its_speaker(built, places):
    assert built.status == 0
    corpus, _ = places
    most = 0
    for recipe, features in zip(built.recipes(), built.examples(), strict=True):
        sources = np.frombuffer(features["sources"][0], np.int16).reshape(2, -1)
        mixture = np.frombuffer(features["mixture"][0], np.int16)
        np.testing.assert_array_equal(sources.sum(axis=0), mixture)
        assert features["speakers"] == [row[0].speaker.encode() for row in recipe.rows]
        assert features["offsets_s"] == pytest.approx([row[0].offset_s for row in recipe.rows])
        assert features["offsets_s"] == sorted(features["offsets_s"])
        for number, row in enumerate(recipe.rows):
            expected = np.zeros(len(mixture))
            gain = 10 ** (features["gains_db"][number] / 20)
            for source in row:
                sound = soundfile.read(corpus / source.path)[0][source.start : source.stop]
                start = round(source.offset_s * SAMPLE_RATE)
                expected[start : start + len(sound)] = gain * sound
            np.testing.assert_allclose(sources[number] / 32768, expected, atol=1.1 / 32768)
            most = max(most, len(row))
    assert most >= 3


def test_neither_threads_nor_processes_change_a_byte(built, places, tmp_path):
    corpus, recipe = places
    again = build(
        f"--recipe={recipe}",
        *ASKED,
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
        corpus=corpus,
        output=tmp_path / "again" / "talks",
    )
    assert again.digests == built.digests


def test_its_recipes_give_the_same_bytes(built, places, tmp_path):
    corpus, _ = places
    again = build(
        f"--recipes={built.folder}/recipes/*.jsonl",
        "--num_shards=2",
        corpus=corpus,
        output=tmp_path / "talks",
    )
    assert again.status == 0
    assert again.digests == built.digests


def test_at_half_the_rate_it_is_the_same_conversation(built, places, tmp_path):
    corpus, _ = places
    again = build(
        f"--recipes={built.folder}/recipes/*.jsonl",
        "--sample_rate=4000",
        corpus=corpus,
        output=tmp_path / "talks",
    )
    assert again.status == 0
    assert again.quality["checks"]["max_sum_error"] == 0
    assert again.quality["num_speakers"] == 2


def test_the_dataset_is_sound_and_its_report_says_how_turns_were_taken(built, capsys):
    assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
    assert "sound: 8 mixtures" in capsys.readouterr().out
    quality = built.quality
    assert quality["num_speakers"] == 2
    asked = {item["title"]: item for item in quality["asked"]}
    assert asked["Speech in a conversation"]["asked"] == "about 3 s"
    assert asked["Gap between speakers"]["asked"] == "0.05 to 0.1 s"
    assert asked["Changes of speaker that overlap"]["asked"] == "50.0%"
    assert quality["histograms"]["num_turns"]["num"] > 0
    assert quality["histograms"]["pause_s"]["max"] <= 0.201
    for uses in quality["use"].values():
        assert uses["utterances"]["max"] - uses["utterances"]["min"] <= 1
    html = (built.folder / "report.html").read_text("utf-8")
    recipe = built.recipes("train")[0]
    assert html.count('class="placed"') >= len(recipe.sources)


def test_other_mixtures_have_nothing_of_turns_in_their_report(corpus, recipe, tmp_path):
    other = build(f"--recipe={recipe}", "--num_shards=1", corpus=corpus, output=tmp_path / "x")
    assert "num_turns" not in other.quality["histograms"]
    assert b'"row"' not in (next((other.folder / "recipes").iterdir())).read_bytes()
