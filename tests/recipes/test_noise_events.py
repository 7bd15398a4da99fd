"""Noise events: sounds that begin and end within a mixture, beside a background or alone."""

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from small_datasets import RECIPE, SAMPLE_RATE, build, voice, write_corpus, write_recipe

from beam_jobs import verify_dataset
from beam_jobs.corpora.catalogue import SCHEMA, Catalogue
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import NothingToDoError, NoUtteranceLeftError, PlanOptions
from beam_jobs.recipes.splits import parse_shares
from beam_jobs.rendering.loudness import integrated_loudness_lufs
from beam_jobs.rendering.part_reader import PartReader, fade_ends
from beam_jobs.rendering.render import UnusablePartError, render
from beam_jobs.rendering.scratch import Scratch
from schemas.recipe import Noise, NoiseEvent, Recipe, Source, Utterance, parse_recipe
from schemas.recipe_config import parse_recipe_config
from schemas.validation import InvalidDocumentError

BACKGROUND = {"snr_db": {"uniform": [10, 20]}}
EVENTS = {
    "number": {"uniform": [0, 3]},
    "snr_db": {"uniform": [-5, 10]},
    "length_s": {"uniform": [0.2, 0.6]},
}
BOTH = {"background": BACKGROUND, "events": EVENTS}


def a_file(corpus, path, speaker, duration_s, sample_rate=8000):
    frames = round(duration_s * sample_rate)
    return Utterance(f"{corpus}/{path}", corpus, path, speaker, "", "", 0, frames, sample_rate, 1)


def a_plan(noise, *, num_mixtures=60, splits="train=1", **recipe):
    """Plans mixtures of utterances of 2 s, with noises of 0.5 to 4 s in two folders."""
    files = [
        a_file("speech", f"{speaker}/{number}.flac", f"speaker{speaker}", 2)
        for speaker in range(20)
        for number in range(2)
    ]
    files += [
        a_file("noise", f"{('music', 'clicks')[number % 2]}/{number}.wav", "noise", length_s, 16000)
        for number, length_s in enumerate([0.5, 1, 2, 4] * 4)
    ]
    options = PlanOptions(
        config=parse_recipe_config(json.dumps(RECIPE | recipe | {"noise": noise}), "recipe"),
        seed=0,
        shares=parse_shares(splits),
        num_mixtures=num_mixtures,
        num_shards=1,
        sounds={"noise": "noise"},
    )
    table = pa.Table.from_pylist(list(map(dataclasses.asdict, files)), schema=SCHEMA)
    return DrawnPlan(Catalogue(table), options)


def drafts_of(plan):
    return [draft for shard in plan.shards for draft in plan.drafts(shard)]


def recipes_of(plan):
    return [draft.recipe for draft in drafts_of(plan)]


def test_events_change_neither_the_speech_nor_the_background():
    for recipe, plain in zip(recipes_of(a_plan(BOTH)), recipes_of(a_plan(BACKGROUND)), strict=True):
        assert recipe.noise_events is not None
        assert dataclasses.replace(recipe, noise_events=None) == plain


def test_a_background_alone_has_the_same_recipes_in_its_short_form_and_in_its_long_one():
    short, long = a_plan(BACKGROUND), a_plan({"background": BACKGROUND})
    assert recipes_of(short) == recipes_of(long)
    assert all("noise_events" not in recipe.to_json() for recipe in recipes_of(short))


def test_there_are_as_many_events_as_asked_each_at_a_level_and_of_a_length_that_was_asked():
    recipes = recipes_of(a_plan({"events": EVENTS}, num_mixtures=200))
    assert all(recipe.noise is None for recipe in recipes)
    counts = np.bincount([len(recipe.noise_events) for recipe in recipes])
    assert len(counts) == 4
    assert counts.min() > 30
    events = [event for recipe in recipes for event in recipe.noise_events]
    assert all(-5 <= event.level <= 10 for event in events)
    assert all(0.2 <= event.duration_s <= 0.6 for event in events)
    assert len({event.level for event in events}) == len(events)


def test_numbers_of_events_may_be_choices():
    recipes = recipes_of(a_plan({"events": EVENTS | {"number": {"choices": [0, 5]}}}))
    assert {len(recipe.noise_events) for recipe in recipes} == {0, 5}


@pytest.mark.parametrize("timing", [{}, {"start_s": 0.5}, {"start_s": {"uniform": [1, 30]}}])
@pytest.mark.parametrize("length", [{}, {"length_s": {"lognormal": {"median": 0.5, "sigma": 2}}}])
def test_a_mixture_has_all_of_its_events(timing, length):
    events = {"number": 2, "snr_db": 0} | timing | length
    for recipe in recipes_of(a_plan({"events": events}, length=1.5)):
        for event in recipe.noise_events:
            file_s = [0.5, 1, 2, 4][int(event.path.split("/")[1].partition(".")[0]) % 4]
            assert event.start >= 0
            assert event.stop <= 16_000 * file_s
            assert event.offset_s >= 0
            assert event.offset_s + event.duration_s <= recipe.duration_s + 1 / SAMPLE_RATE
            if timing == {"start_s": 0.5} and event.duration_s <= 1:
                assert event.offset_s == 0.5
            if not length:
                assert event.duration_s == min(file_s, 1.5)


def test_events_are_from_the_folders_that_were_named():
    noise = {
        "background": BACKGROUND | {"folders": ["music"]},
        "events": EVENTS | {"folders": ["clicks/"]},
    }
    for recipe in recipes_of(a_plan(noise)):
        assert recipe.noise.path.startswith("music/")
        assert all(event.path.startswith("clicks/") for event in recipe.noise_events)


def test_a_folder_without_files_is_named():
    with pytest.raises(NothingToDoError, match="--noise has 0 usable files in musik, and none is"):
        a_plan({"events": EVENTS | {"folders": ["musik"]}})


def test_a_file_of_an_event_is_in_one_split():
    splits = {}
    plan = a_plan(BOTH, splits="train=0.5,validation=0.2,test=0.3", num_mixtures=200)
    for recipe in recipes_of(plan):
        for part in recipe.parts[2:]:
            assert splits.setdefault(part.path, recipe.split) == recipe.split
    assert len(splits) == 16


@given(st.sets(st.integers(40, 55), max_size=16))
def test_events_that_turn_out_unusable_are_replaced(unusable):
    plan = a_plan({"events": EVENTS | {"number": 2}}, num_mixtures=8)
    for draft in drafts_of(plan):
        if len(unusable) == 16:
            with pytest.raises(NoUtteranceLeftError):
                plan.redraft(draft, unusable)
            continue
        again = plan.redraft(draft, unusable)
        assert not unusable & set(again.entries)
        assert len(again.entries) == len(again.recipe.parts) == 4
        if not unusable & set(draft.entries):
            assert again == draft


@pytest.mark.parametrize(
    "noise",
    [
        BOTH,
        {"events": EVENTS | {"start_s": {"uniform": [0, 1]}, "folders": ["music"]}},
        {"background": {"loudness_lufs": -35, "folders": ["music", "clicks"]}},
        {"events": {"number": {"choices": [1, 2]}, "loudness_lufs": -30}},
    ],
)
def test_noises_are_read_back_from_their_json(noise):
    config = parse_recipe_config(json.dumps(RECIPE | {"noise": noise}), "recipe")
    assert config.to_document()["noise"] == noise
    assert parse_recipe_config(json.dumps(config.to_document()), "recipe") == config
    for recipe in recipes_of(a_plan(noise)):
        assert parse_recipe(recipe.to_json(), "recipe") == recipe


@pytest.mark.parametrize(
    ("noise", "complaint"),
    [
        ({}, "noise"),
        ({"snr_db": 5, "events": EVENTS}, "noise"),
        ({"background": {}}, "noise.background: loudness_lufs and snr_db are missing: give one"),
        ({"events": {"snr_db": 5}}, "noise.events: 'number' is a required property"),
        ({"events": {"number": 1}}, "noise.events: loudness_lufs and snr_db are missing: give one"),
        ({"background": {"loudness_lufs": -30, "snr_db": 5}}, "noise.background: .* go together"),
        ({"events": {"number": 1.5, "snr_db": 5}}, "noise.events.number: 1.5 is not valid"),
        ({"events": EVENTS | {"lenght_s": 1}}, "unknown key 'lenght_s' .did you mean 'length_s'"),
        (
            {"events": EVENTS | {"number": {"uniform": [3, 1]}}},
            "noise.events.number: the range end",
        ),
    ],
)
def test_a_noise_that_makes_no_sense_is_refused_with_the_name_of_its_key(noise, complaint):
    with pytest.raises(InvalidDocumentError, match=complaint):
        parse_recipe_config(json.dumps(RECIPE | {"noise": noise}), "recipe")


@pytest.fixture
def rendered(tmp_path):
    """Renders a voice of 1 s with noises, each given as its samples and its place."""

    def render_noises(*events, background=None, duration_s=1.5, channels="average"):
        def write(sound):
            path = f"{len(list(tmp_path.iterdir()))}.wav"
            soundfile.write(tmp_path / path, sound, SAMPLE_RATE, subtype="FLOAT")
            return path

        sound = voice(120, 1)
        speech = Source(
            "u", "corpus", write(sound), "a", "", 0, 8000, SAMPLE_RATE, 0.25, "gain_db", 0.0
        )
        noise = None
        if background is not None:
            samples, kind, level = background
            noise = Noise(
                "corpus", write(samples), 0, len(samples), 12_000, SAMPLE_RATE, kind, level
            )
        recipe = Recipe(
            "train-000000000",
            "train",
            SAMPLE_RATE,
            duration_s,
            channels,
            (speech,),
            noise=noise,
            noise_events=tuple(
                NoiseEvent(
                    "corpus", write(samples), 0, len(samples), SAMPLE_RATE, offset_s, kind, level
                )
                for samples, offset_s, kind, level in events
            ),
        )
        return render(recipe, PartReader({"corpus": str(tmp_path)}), Scratch())

    return render_noises


def white(duration_s, seed=0, level=0.05, channels=()):
    shape = (round(duration_s * SAMPLE_RATE), *channels)
    return np.random.default_rng(seed).normal(0, level, shape).astype(np.float32)


def power(samples):
    return np.mean(np.square(samples, dtype=np.float64))


@pytest.mark.parametrize("snr_db", [-10, 0, 12.5])
def test_the_speech_of_the_mixture_is_over_an_event_as_asked_while_it_sounds(rendered, snr_db):
    mixture = rendered((white(0.5, 1), 0.75, "snr_db", snr_db))
    noise = mixture.noise.astype(int)
    assert not noise[:6000].any()
    assert not noise[10_000:].any()
    achieved_db = 10 * math.log10(power(mixture.sources[0]) / power(noise[6000:10_000]))
    assert achieved_db == pytest.approx(snr_db, abs=0.02)
    (heard,) = mixture.noises
    assert heard.snr_db == pytest.approx(achieved_db, abs=0.02)


def test_the_noise_is_the_sum_of_all_noises_and_the_mixture_that_of_all_parts(rendered):
    background = (white(2, 5), "gain_db", -6.0)
    sounds = [(white(0.5, 1), 0.25), (white(0.5, 2), 0.5), (voice(300, 0.2), 1.25)]
    events = [(sound, at_s, "gain_db", -3.0) for sound, at_s in sounds]
    together = rendered(*events, background=background)
    expected = 10 ** (-6 / 20) * background[0][:12_000].astype(np.float64)
    fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, 81) / 80.5)
    for sound, at_s in sounds:
        faded = sound.astype(np.float64)
        faded[:80] *= fade
        faded[-80:] *= fade[::-1]
        start = round(at_s * SAMPLE_RATE)
        expected[start : start + len(sound)] += 10 ** (-3 / 20) * faded
    np.testing.assert_allclose(together.noise / 32768, expected, atol=1 / 32768)
    parts = together.sources.astype(int).sum(axis=0) + together.noise
    np.testing.assert_array_equal(parts, together.mixture)


def test_a_mixture_that_happens_to_have_no_event_has_a_silent_noise(rendered):
    mixture = rendered()
    assert mixture.noise.shape == mixture.mixture.shape
    assert not mixture.noise.any()


def test_an_event_has_the_loudness_that_was_asked(rendered):
    mixture = rendered((white(0.8, 1), 0.5, "loudness_lufs", -32.0))
    heard = mixture.noise[4000:10_400].astype(np.float32) / 32768
    assert integrated_loudness_lufs(heard, SAMPLE_RATE) == pytest.approx(-32, abs=0.1)
    assert mixture.noises[0].loudness_lufs == pytest.approx(-32, abs=0.1)


def test_events_of_two_channels_sound_in_both(rendered):
    sound = white(0.5, 3, channels=(2,))
    mixture = rendered((sound, 0.5, "gain_db", 0.0), channels="stereo")
    np.testing.assert_allclose(mixture.noise[4100:7900] / 32768, sound[100:3900], atol=1 / 32768)


def test_an_event_that_a_mixture_has_not_all_of_is_cut_off(rendered):
    mixture = rendered((white(0.5, 1), 1.25, "snr_db", 0.0))
    achieved = power(mixture.sources[0]) / power(mixture.noise[10_000:])
    assert 10 * math.log10(achieved) == pytest.approx(0, abs=0.02)


def test_an_event_without_sound_is_its_files_fault(rendered):
    with pytest.raises(UnusablePartError) as caught:
        rendered((white(0.5), 0.0, "snr_db", 0.0), (np.zeros(4000), 0.5, "snr_db", 0.0))
    assert (caught.value.index, caught.value.reason) == (2, "silence")


@given(st.integers(0, 400))
def test_a_fade_only_ever_softens_and_leaves_the_middle_alone(length):
    sound = np.ones(length, np.float32)
    faded = fade_ends(sound, SAMPLE_RATE)
    assert ((faded > 0) & (faded <= 1)).all()
    assert (faded[80 : length - 80] == 1).all()
    np.testing.assert_allclose(faded, faded[::-1])


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Writes speech, music of 3 s, clicks of 0.2 to 0.6 s, and a click without any sound."""
    folder = tmp_path_factory.mktemp("corpora")
    write_corpus(folder / "speech")
    for number in range(4):
        for kind, sound in (("music", white(3, number)), ("clicks", white(0.2 + 0.1 * number, 9))):
            path = folder / "noise" / kind / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound, SAMPLE_RATE)
    soundfile.write(folder / "noise/clicks/silence.wav", np.zeros(3000), SAMPLE_RATE)
    return folder


NOISE = {
    "background": BACKGROUND | {"folders": ["music"]},
    "events": EVENTS | {"folders": ["clicks"]},
}


@pytest.fixture(scope="module")
def built(corpora, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return build(
        f"--recipe={write_recipe(folder / 'recipe.json', noise=NOISE)}",
        *(f"--noise={corpora / 'noise'}", "--splits=train=1", "--num_mixtures=24"),
        *("--num_shards=2", "--direct_num_workers=1", "--direct_running_mode=in_memory"),
        corpus=corpora / "speech",
        output=folder / "mixtures",
    )


def test_a_dataset_with_events_is_sound_and_rendered_again_byte_by_byte(built, corpora, tmp_path):
    assert (built.status, built.num_mixtures) == (3, 24)
    assert set(built.rejected.values()) == {"silence"}
    assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
    assert all("noise" in features for features in built.examples())
    assert not all(recipe.noise_events for recipe in built.recipes())
    again = build(
        *(f"--recipes={built.folder}/recipes/*.jsonl", f"--noise={corpora / 'noise'}"),
        *("--num_shards=2", "--direct_num_workers=1", "--direct_running_mode=in_memory"),
        corpus=corpora / "speech",
        output=tmp_path / "mixtures",
    )
    assert again.status == 0
    assert again.digests == built.digests


def test_the_report_has_the_levels_of_background_and_events_apart(built):
    asked = {row["title"]: row["asked"] for row in built.quality["asked"]}
    assert asked["Sources over background noise"] == "10 to 20 dB"
    assert asked["Sources over a noise event"] == "-5 to 10 dB"
    assert asked["Noise events in a mixture"] == "0 to 3 events"
    recipes, histograms = built.recipes(), built.quality["histograms"]
    events = [event for recipe in recipes for event in recipe.noise_events]
    for name, values in (
        ("background_snr_db", [recipe.noise.level for recipe in recipes]),
        ("event_snr_db", [event.level for event in events]),
        ("event_start_s", [event.offset_s for event in events]),
        ("event_length_s", [event.duration_s for event in events]),
        ("num_events", [len(recipe.noise_events) for recipe in recipes]),
    ):
        measured = histograms[name]
        assert measured["num"] == len(values)
        assert (measured["min"], measured["max"]) == pytest.approx(
            (min(values), max(values)), abs=0.05
        )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"offset_s": 9.0}, "a noise event of "),
        ({"stop": 90_000}, "made for another "),
    ],
)
def test_a_given_event_that_can_not_be_is_named_with_its_line(
    built, corpora, tmp_path, changes, complaint
):
    line = next(recipe for recipe in built.recipes() if recipe.noise_events).to_json()
    document = json.loads(line)
    document["noise_events"][0] |= changes
    (tmp_path / "given.jsonl").write_text(json.dumps(document) + "\n")
    made = build(
        *(f"--recipes={tmp_path / 'given.jsonl'}", f"--noise={corpora / 'noise'}"),
        corpus=corpora / "speech",
        output=tmp_path / "mixtures",
    )
    assert made.status == 1
    assert complaint in made.complaints
