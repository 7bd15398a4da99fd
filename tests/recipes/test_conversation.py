"""Conversations: the turns of their speakers, and the datasets made from them."""

import dataclasses
import hashlib
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
from beam_jobs.recipes.conversation import (
    conversation_offsets,
    divide_into_runs,
    gamma_shape,
)
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import NoUtteranceLeftError
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.random_numbers import draw, keyed_generator, keyed_uniforms
from beam_jobs.recipes.turn_taking import (
    find_dominance,
    recipe_turns,
    share_of_three,
    turn_changes,
)
from beam_jobs.separation.turns import Turn
from schemas.recipe import parse_recipe
from schemas.recipe_config import (
    Backchannels,
    BackgroundNoise,
    Conversation,
    LogNormal,
    NoiseConfig,
    Quantiles,
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
    st.lists(st.floats(0, 3), min_size=2).map(lambda ones: Quantiles(tuple(sorted(ones)))),
)
CONVERSATIONS = st.builds(
    Conversation,
    speech_s=st.floats(1, 200),
    pause_s=DURATIONS,
    gap_s=DURATIONS,
    overlap_s=DURATIONS,
    overlap_probability=st.floats(0, 1),
    pause_probability=st.none() | st.floats(0, 1),
    backchannels=st.none() | st.builds(Backchannels, st.floats(0, 0.9), st.floats(0.1, 10)),
    three_at_once=st.none() | st.floats(0, 0.5),
)
SPOKEN = st.lists(
    st.lists(st.integers(100, 100_000), min_size=1, max_size=12), min_size=1, max_size=5
)


def spans_of(lengths, offsets):
    return [
        sorted((start, start + length) for start, length in zip(starts, own, strict=True))
        for starts, own in zip(offsets, lengths, strict=True)
    ]


def test_the_noisy_preset_is_the_conversation_with_noise():
    noisy = load_recipe_config("conversation_noisy")
    assert noisy.noise == NoiseConfig(BackgroundNoise("snr_db", Uniform(5, 20)))
    assert dataclasses.replace(noisy, noise=None, description=PRESET.description) == PRESET


@settings(max_examples=150)
@given(SPOKEN, CONVERSATIONS, st.integers())
def test_nobody_overlaps_himself_and_three_speak_only_if_asked_for(lengths, conversation, seed):
    offsets = conversation_offsets(lengths, conversation, 8000, keyed_uniforms(seed))
    spans = spans_of(lengths, offsets)
    for own in spans:
        assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(own))
    changes = sorted((place, change) for own in spans for span in own
                     for place, change in zip(span, (1, -1), strict=True))  # fmt: skip
    most = 2 if conversation.three_at_once is None else 3
    assert max(itertools.accumulate(change for _, change in changes)) <= most
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
    found = {"pause_s": [], "gap_s": [], "turn_overlap_s": [], "backchannel_s": []}
    for seed in range(300):
        utterances = [
            utterance(speaker, number, duration_s=4 + number / 7, sample_rate=16000)
            for speaker in ("anna", "bert")
            for number in range(10)
        ]
        recipe = a_recipe(PRESET, seed, utterances)
        for kind, duration_s in turn_changes(recipe_turns(recipe)):
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
    st.none() | st.floats(0.01, 0.9),
)
def test_runs_have_every_utterance_once_and_are_of_one_speaker(durations_s, run_s, dominance):
    speakers = np.repeat(np.arange(len(durations_s)), [len(own) for own in durations_s])
    shuffled = np.random.default_rng(0).permutation(len(speakers))
    speakers = speakers[shuffled].astype(np.int32)
    flat = np.concatenate(durations_s)[shuffled]
    runs = divide_into_runs(
        speakers, flat, run_s, shape=gamma_shape(dominance, 4), generator=keyed_generator(run_s)
    )
    members = [runs[number] for number in range(len(runs.firsts))]
    assert sorted(np.concatenate(members)) == list(range(len(speakers)))
    for own in members:
        assert len(own) >= 1
        assert len(set(speakers[own])) == 1
        if dominance is None:
            # As long as asked for, give or take an utterance, which can't be divided.
            assert flat[own].sum() <= 2 * run_s + 2 * flat[own].max()


def talks(*, num_speakers=4, utterance_s=(0.3, 4.0), count=60, **asked):
    """Draws the turns of conversations from utterances that are evenly as long as given."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8, dtype=np.int32), 400)
    durations_s = rng.uniform(*utterance_s, len(speakers))
    conversation = dataclasses.replace(PRESET.conversation, speech_s=240.0, **asked)
    runs = divide_into_runs(
        speakers,
        durations_s,
        conversation.speech_s / num_speakers,
        shape=gamma_shape(conversation.dominance, num_speakers),
        generator=keyed_generator("talks"),
    )
    by_speaker = [np.flatnonzero(speakers[runs.firsts] == speaker) for speaker in range(8)]
    found = []
    for seed in range(count):
        lengths = [
            (durations_s[runs[rng.choice(by_speaker[speaker])]] * 8000).round().astype(int).tolist()
            for speaker in rng.permutation(8)[:num_speakers]
        ]
        offsets = conversation_offsets(lengths, conversation, 8000, keyed_uniforms(seed))
        found.append(
            [
                Turn(str(row), start / 8000, (stop - start) / 8000)
                for row, spans in enumerate(spans_of(lengths, offsets))
                for start, stop in spans
            ]
        )
    return found


def shares(conversations):
    """Returns the share of all turns of each kind, over several conversations."""
    kinds = Counter(kind for turns in conversations for kind, _ in turn_changes(turns))
    return {kind: count / sum(map(len, conversations)) for kind, count in kinds.items()}


@pytest.mark.parametrize("dominance", [0, 0.05, 0.2])
def test_speakers_share_the_floor_as_unevenly_as_asked(dominance):
    found = talks(dominance=dominance, count=150)
    assert np.mean([find_dominance(turns) for turns in found]) == pytest.approx(dominance, abs=0.03)


@pytest.mark.parametrize("probability", [0.1, 0.6])
def test_a_speaker_goes_on_as_often_as_asked(probability):
    kinds = shares(talks(pause_probability=probability))
    changes = kinds["gap_s"] + kinds["turn_overlap_s"]
    assert kinds["pause_s"] / (kinds["pause_s"] + changes) == pytest.approx(probability, abs=0.06)


@pytest.mark.parametrize("probability", [0, 0.15])
def test_as_many_short_turns_as_asked_are_inside_that_of_another(probability):
    found = talks(backchannels=Backchannels(probability, max_s=1.0))
    assert shares(found).get("backchannel_s", 0) == pytest.approx(probability, abs=0.02)
    inside = [length_s for turns in found for kind, length_s in turn_changes(turns)
              if kind == "backchannel_s"]  # fmt: skip
    assert max(inside, default=0) <= 1


def test_the_shortest_utterances_are_said_inside_the_turns_of_others():
    (found,) = talks(backchannels=Backchannels(0.2, max_s=4.0), count=1)
    inside = [length_s for kind, length_s in turn_changes(found) if kind == "backchannel_s"]
    others = sorted(turn.duration_s for turn in found)[len(inside) :]
    assert max(inside) <= others[0] + 0.1


def test_who_says_little_says_it_in_short_turns():
    found = talks(dominance=0.2, count=100)
    said = [
        (sum(own) / sum(turn.duration_s for turn in turns), np.mean(own))
        for turns in found
        for own in (
            [turn.duration_s for turn in turns if turn.speaker == speaker] for speaker in "0123"
        )
    ]
    share, mean_s = np.array(said).T
    assert mean_s[share > 0.4].mean() > 1.5 * mean_s[share < 0.1].mean()


def test_all_short_turns_are_inside_others_if_there_are_too_few():
    found = talks(backchannels=Backchannels(0.5, max_s=0.5))
    short = sum(turn.duration_s <= 0.5 for turns in found for turn in turns)
    assert shares(found)["backchannel_s"] * sum(map(len, found)) > 0.9 * short


@pytest.mark.parametrize("utterance_s", [(0.3, 4.0), (4.0, 16.0)])
@pytest.mark.parametrize("share", [0, 0.02, 0.1])
def test_three_speak_at_once_as_often_as_asked_however_long_utterances_are(utterance_s, share):
    found = talks(three_at_once=share, utterance_s=utterance_s)
    assert np.mean([share_of_three(turns) for turns in found]) == pytest.approx(share, rel=0.3)


def test_all_together_are_as_asked():
    found = talks(
        dominance=0.1,
        pause_probability=0.4,
        backchannels=Backchannels(0.15, max_s=1.0),
        three_at_once=0.02,
    )
    kinds = shares(found)
    changes = kinds["gap_s"] + kinds["turn_overlap_s"]
    assert kinds["backchannel_s"] == pytest.approx(0.15, abs=0.03)
    assert kinds["pause_s"] / (kinds["pause_s"] + changes) == pytest.approx(0.4, abs=0.08)
    assert kinds["turn_overlap_s"] / changes == pytest.approx(0.5, abs=0.05)
    assert np.mean([share_of_three(turns) for turns in found]) == pytest.approx(0.02, abs=0.008)
    assert np.mean([find_dominance(turns) for turns in found]) == pytest.approx(0.1, abs=0.03)


def test_without_their_keys_recipes_are_what_they_always_were():
    plan = DrawnPlan(a_catalogue([9] * 6), conversation_options(splits="train=1", num_speakers=3))
    lines = [draft.recipe.to_json() for shard in plan.shards for draft in plan.drafts(shard)]
    assert hashlib.sha256("".join(lines).encode()).hexdigest()[:16] == "c26344f6819f4cd0"


@pytest.mark.parametrize(
    ("num_speakers", "changes", "complaint"),
    [
        (2, {"three_at_once": 0.1}, "conversation.three_at_once and num_speakers 2 do not go"),
        (1, {"dominance": 0.1}, "conversation.dominance and num_speakers 1 do not go together"),
        (2, {"gap_s": {"quantiles": [1, 0]}}, r"conversation.gap_s: the quantiles are not in asc"),
        (2, {"gap_s": {"quantiles": [1]}}, r"\$.conversation.gap_s"),
        (2, {"backchannels": {"probability": 0.2}}, r"\$.conversation.backchannels.*max_s"),
        (2, {"dominance": 1}, r"\$.conversation.dominance"),
    ],
)
def test_what_no_conversation_can_be_is_refused_with_its_key(num_speakers, changes, complaint):
    document = {name: value for name, value in RECIPE.items() if name != "offset_s"}
    document |= {"conversation": TURNS | changes, "num_speakers": num_speakers}
    with pytest.raises(InvalidDocumentError, match=rf"^r\.json: {complaint}"):
        parse_recipe_config(json.dumps(document), "r.json")


def test_a_configuration_with_all_keys_is_written_as_it_is_read():
    document = {name: value for name, value in RECIPE.items() if name != "offset_s"}
    document["num_speakers"] = 3
    document["conversation"] = TURNS | {
        "gap_s": {"quantiles": [0, 0.2, 1]},
        "pause_probability": 0.4,
        "dominance": 0.1,
        "backchannels": {"probability": 0.2, "max_s": 1},
        "three_at_once": 0.02,
    }
    config = parse_recipe_config(json.dumps(document), "r.json")
    assert config.to_document()["conversation"] == document["conversation"]


def test_quantiles_are_drawn_evenly_between_their_neighbours():
    uniforms = keyed_uniforms("numbers")
    numbers = [draw(Quantiles((0, 1, 10)), uniforms) for _ in range(10_000)]
    found = np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1])
    assert found == pytest.approx([0, 0.5, 1, 5.5, 10], abs=0.2)


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


def test_whoever_is_alone_counts_for_nothing_in_the_shares_of_turns(places, tmp_path):
    corpus, two_talk = places
    document = json.loads(two_talk.read_text("utf-8"))
    document["num_speakers"] = {"choices": [1, 2]}
    document["conversation"] |= {
        "pause_probability": 0.3,
        "backchannels": {"probability": 0.2, "max_s": 1},
    }
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(document), "utf-8")
    asked_for = ("--num_mixtures=16", "--num_shards=1", "--splits=train=1")
    built = build(f"--recipe={recipe}", *asked_for, corpus=corpus, output=tmp_path / "talks")
    assert built.status == 0, built.complaints
    kinds = Counter(
        kind
        for recipe in built.recipes()
        if len(recipe.rows) == 2
        for kind, _ in [("first", 0), *turn_changes(recipe_turns(recipe))]
    )
    changes = kinds["gap_s"] + kinds["turn_overlap_s"]
    asked = {one["title"]: one["achieved"] for one in built.quality["asked"]}
    goes_on = kinds["pause_s"] / (kinds["pause_s"] + changes)
    assert asked["Turns after which the speaker goes on"] == f"{goes_on:.1%}"
    assert asked["Turns inside another one"] == f"{kinds['backchannel_s'] / kinds.total():.1%}"


def test_other_mixtures_have_nothing_of_turns_in_their_report(corpus, recipe, tmp_path):
    other = build(f"--recipe={recipe}", "--num_shards=1", corpus=corpus, output=tmp_path / "x")
    assert "num_turns" not in other.quality["histograms"]
    assert b'"row"' not in (next((other.folder / "recipes").iterdir())).read_bytes()
