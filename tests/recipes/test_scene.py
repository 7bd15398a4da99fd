"""Noise, rooms and speed: how they are drawn, and how they sound."""

import dataclasses
import importlib.util
import json
import math
import sys
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyroomacoustics
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from optional import needs_tensorflow
from small_datasets import RECIPE, SAMPLE_RATE, build, voice, write_corpus, write_recipe

from beam_jobs import verify_dataset
from beam_jobs.corpora.catalogue import SCHEMA, Catalogue
from beam_jobs.dataset import verification
from beam_jobs.dataset.reading import open_dataset
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import NothingToDoError, NoUtteranceLeftError, PlanOptions
from beam_jobs.recipes.scene import WALL_M, draw_simulated_rooms
from beam_jobs.recipes.splits import parse_shares
from beam_jobs.rendering.loudness import integrated_loudness_lufs
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import UnusablePartError, render
from beam_jobs.rendering.rooms import check_simulation, find_images, simulate_response
from beam_jobs.rendering.scratch import Scratch
from schemas.recipe import (
    Noise,
    Recipe,
    RecordedRoom,
    SimulatedRoom,
    Source,
    Utterance,
    parse_recipe,
)
from schemas.recipe_config import SimulatedRooms, Uniform, parse_recipe_config

NOISE = {"snr_db": {"uniform": [0, 20]}}
SPEED = {"choices": [0.9, 1.0, 1.1]}
SIMULATED = {
    "simulated": {
        "length_m": {"uniform": [3, 5]},
        "width_m": {"uniform": [3, 4]},
        "height_m": 2.5,
        "rt60_s": {"uniform": [0.15, 0.25]},
        "distance_m": {"uniform": [0.5, 1.5]},
    }
}
RECORDED_SCENE = {"noise": NOISE, "rooms": "recorded", "speed": SPEED}
SIMULATED_SCENE = {"noise": {"loudness_lufs": -35}, "rooms": SIMULATED, "speed": SPEED}

STEP = 1 / 32768


def a_file(corpus, path, speaker, *, duration_s=1.0, sample_rate=8000):
    num_frames = round(duration_s * sample_rate)
    name = f"{corpus}/{path}"
    return Utterance(name, corpus, path, speaker, "", "", 0, num_frames, sample_rate, 1)


def a_catalogue(*, num_noises=10, num_rooms=3):
    """Makes a catalogue of 20 speakers, noises of 1 to 4 s, and rooms with 4 responses each."""
    speech = [
        a_file("speech", f"{speaker}/{number}.flac", f"speaker{speaker}", duration_s=2)
        for speaker in range(20)
        for number in range(2)
    ]
    noises = [
        a_file("noise", f"{number}.wav", "noise", duration_s=1 + number % 4, sample_rate=16000)
        for number in range(num_noises)
    ]
    responses = [
        a_file("rooms", f"{room}/{number}.wav", "rooms", duration_s=0.2)
        for room in range(num_rooms)
        for number in range(4)
    ]
    # In a catalogue the corpora are mixed, and each has its own order.
    files = [*noises[::2], *speech[:20], *noises[1::2], *responses, *speech[20:]]
    return Catalogue(pa.Table.from_pylist(list(map(dataclasses.asdict, files)), schema=SCHEMA))


def a_plan(catalogue=None, *, splits="train=0.5,validation=0.2,test=0.3", **scene):
    """Plans sixty mixtures; the catalogue has only the sounds that the scene uses."""
    noise, rooms = "noise" in scene, scene.get("rooms") == "recorded"
    if catalogue is None:
        catalogue = a_catalogue(num_noises=10 * noise, num_rooms=3 * rooms)
    options = PlanOptions(
        config=parse_recipe_config(json.dumps(RECIPE | scene), "recipe"),
        seed=0,
        shares=parse_shares(splits),
        num_mixtures=60,
        num_shards=1,
        sounds={name: name for name in ("noise",) * noise + ("rooms",) * rooms},
    )
    return DrawnPlan(catalogue, options)


def drafts_of(plan):
    return [draft for shard in plan.shards for draft in plan.drafts(shard)]


def recipes_of(plan):
    return [draft.recipe for draft in drafts_of(plan)]


def test_noise_and_rooms_change_neither_who_meets_nor_where_nor_how_loud():
    scenic = recipes_of(a_plan(noise=NOISE, rooms="recorded"))
    for recipe, plain in zip(scenic, recipes_of(a_plan()), strict=True):
        sources = tuple(dataclasses.replace(source, room=None) for source in recipe.sources)
        assert dataclasses.replace(recipe, sources=sources, noise=None) == plain


def test_a_recipe_without_a_scene_says_nothing_of_it():
    recipe = json.loads(recipes_of(a_plan())[0].to_json())
    assert recipe["noise"] is None
    assert not {"speed", "room"} & set(recipe["sources"][0])


@pytest.mark.parametrize("scene", [RECORDED_SCENE, SIMULATED_SCENE], ids=["recorded", "simulated"])
def test_a_scene_is_read_back_from_its_json(scene):
    for recipe in recipes_of(a_plan(**scene)):
        assert parse_recipe(recipe.to_json(), "recipe") == recipe
    config = parse_recipe_config(json.dumps(RECIPE | scene), "recipe")
    assert parse_recipe_config(json.dumps(config.to_document()), "recipe") == config


def test_a_noise_and_a_response_stand_in_one_split():
    splits = {}
    for recipe in recipes_of(a_plan(noise=NOISE, rooms="recorded")):
        for part in recipe.parts[2:]:
            assert splits.setdefault(part.path, recipe.split) == recipe.split
    assert len(splits) == 10 + 12


def test_the_speakers_of_a_mixture_stand_at_different_places_of_one_room():
    for recipe in recipes_of(a_plan(rooms="recorded", splits="train=1")):
        first, second = (source.room.path for source in recipe.sources)
        assert first != second
        assert first.split("/")[0] == second.split("/")[0]


def test_where_a_room_has_one_response_the_speakers_share_it():
    catalogue = a_catalogue(num_noises=0)
    paths = [f"rooms/{room}/{number}.wav" for room in range(3) for number in range(1, 4)]
    few = catalogue._table.filter(
        pa.compute.invert(pa.compute.is_in(catalogue._table["id"], pa.array(paths)))
    )
    for recipe in recipes_of(a_plan(Catalogue(few), rooms="recorded", splits="train=1")):
        assert recipe.sources[0].room == recipe.sources[1].room


def test_a_noise_is_as_long_as_its_mixture_and_stays_within_its_file():
    starts = set()
    for recipe in recipes_of(a_plan(noise=NOISE)):
        noise = recipe.noise
        assert noise.num_frames == math.ceil(recipe.duration_s * noise.file_sample_rate)
        num_file_frames = 16_000 * (1 + int(noise.path[0]) % 4)
        assert 0 <= noise.start < noise.stop <= num_file_frames
        assert noise.stop - noise.start == min(noise.num_frames, num_file_frames)
        assert 0 <= noise.level <= 20
        starts.add(noise.start)
    assert len(starts) > 10


def noise_entry(draft):
    """Returns where the catalogue has the noise of a mixture."""
    return draft.entries[draft.recipe.parts.index(draft.recipe.noise)]


@given(st.sets(st.integers(0, 9), max_size=9), st.sets(st.integers(0, 9), max_size=9))
def test_what_takes_the_place_of_a_noise_does_not_depend_on_what_else_is_unusable(some, others):
    catalogue = a_catalogue(num_rooms=0)
    plan = a_plan(catalogue, noise=NOISE, splits="train=1")
    noises = catalogue.entries_of("noise")
    known, unusable = set(noises[list(some)]), set(noises[list(some | others)])
    for draft in drafts_of(plan)[:10]:
        if len(some | others) == 10:
            with pytest.raises(NoUtteranceLeftError):
                plan.redraft(draft, unusable)
            continue
        noise = noise_entry(plan.redraft(draft, unusable))
        assert noise not in unusable
        early = noise_entry(plan.redraft(draft, known))
        assert early == noise or early in unusable
        assert noise_entry(plan.redraft(draft, known | unusable)) == noise


def test_without_noise_enough_for_a_split_nothing_is_planned():
    with pytest.raises(NothingToDoError, match="--noise has 2 usable files, and none is left for"):
        a_plan(a_catalogue(num_noises=2, num_rooms=0), noise=NOISE)
    with pytest.raises(NothingToDoError, match="--rooms has 0 usable files"):
        a_plan(a_catalogue(num_noises=0, num_rooms=0), rooms="recorded")


@pytest.mark.parametrize("length", ["min", "max", 1.5])
def test_speed_makes_utterances_shorter_and_everything_fits_all_the_same(length):
    speeds = set()
    for recipe in recipes_of(a_plan(speed=SPEED, length=length)):
        for source in recipe.sources:
            speeds.add(source.speed)
            assert 0 <= source.start <= source.stop <= 16_000
            if length == "max":
                assert source.duration_s == pytest.approx(2 / (source.speed or 1))
            assert source.offset_s + source.duration_s <= recipe.duration_s + 2 / SAMPLE_RATE
    assert speeds == {0.9, None, 1.1}


def rooms_of(recipes):
    """Returns the simulated room of each mixture, without the places of its speakers."""
    rooms = [{(one.room.size_m, one.room.microphone_m) for one in each.sources} for each in recipes]
    assert {len(of_mixture) for of_mixture in rooms} == {1}
    return [room for (room,) in rooms]


def test_mixtures_that_share_utterances_share_simulated_rooms_at_several_places():
    recipes = recipes_of(a_plan(rooms=SIMULATED, splits="train=1"))
    uses = max(Counter(one.utterance for each in recipes for one in each.sources).values())
    mixtures = Counter(rooms_of(recipes))
    assert uses == 3
    assert set(mixtures.values()) == {2 * uses}
    speakers_at = defaultdict(list)
    for recipe in recipes:
        first, second = (source.room for source in recipe.sources)
        assert first != second
        for source in recipe.sources:
            speakers_at[source.room].append(source.speaker)
    assert len(speakers_at) == 4 * len(mixtures)
    assert np.mean(list(map(len, speakers_at.values()))) == uses
    assert all(len(set(speakers)) > 1 for speakers in speakers_at.values() if len(speakers) > 2)


def test_mixtures_that_follow_each_other_are_in_different_shared_rooms():
    rooms = rooms_of(recipes_of(a_plan(rooms=SIMULATED, splits="train=1")))
    assert all(len(set(rooms[start : start + 5])) == 5 for start in (*range(26), *range(30, 56)))


def test_where_no_utterance_is_shared_no_room_is():
    alone = recipes_of(a_plan(rooms=SIMULATED, max_uses_per_shard=1))
    assert len(set(rooms_of(alone))) == 60


def test_a_mixture_stays_in_its_shared_room_when_an_utterance_is_replaced():
    plan = a_plan(rooms=SIMULATED, splits="train=1")
    for draft in drafts_of(plan)[:5]:
        again = plan.redraft(draft, {draft.entries[0]})
        before, after = ([one.room for one in each.recipe.sources] for each in (draft, again))
        assert before == after


SIDES = st.tuples(st.floats(2, 10), st.floats(0, 5)).map(lambda at: Uniform(at[0], at[0] + at[1]))


@given(SIDES, SIDES, SIDES, st.floats(0, 1), st.integers(1, 5), st.randoms())
def test_everybody_stands_in_the_room_and_as_far_from_the_microphone_as_asked(
    length_m, width_m, height_m, share, num_speakers, random
):
    farthest_m = math.hypot(length_m.low - 2 * WALL_M, width_m.low - 2 * WALL_M) / 2
    distance_m = Uniform(share * farthest_m, farthest_m)
    config = SimulatedRooms(length_m, width_m, height_m, Uniform(0.2, 0.2), distance_m)
    check_simulation(config)
    rooms = draw_simulated_rooms(config, num_speakers, iter(random.random, None))
    assert len({(room.size_m, room.microphone_m, room.rt60_s) for room in rooms}) == 1
    for room in rooms:
        for at_m in (room.microphone_m, room.speaker_m):
            for coordinate_m, side_m in zip(at_m, room.size_m, strict=True):
                assert WALL_M - 0.002 <= coordinate_m <= side_m - WALL_M + 0.002
        asked_m = math.dist(room.microphone_m, room.speaker_m)
        assert distance_m.low - 0.001 <= asked_m <= distance_m.high + 0.001


@pytest.fixture
def write(tmp_path):
    """Writes a sound as 32-bit float, and returns its path in the corpus `corpus`."""

    def write_sound(sound, sample_rate=SAMPLE_RATE):
        path = f"{len(list(tmp_path.iterdir()))}.wav"
        soundfile.write(tmp_path / path, sound, sample_rate, subtype="FLOAT")
        return path

    return write_sound


@pytest.fixture
def source(write):
    def add(sound, *, sample_rate=SAMPLE_RATE, **placed):
        path = write(sound, sample_rate)
        one = Source(
            path, "corpus", path, path, "", 0, len(sound), sample_rate, 0.0, "gain_db", 0.0
        )
        return dataclasses.replace(one, **placed)

    return add


@pytest.fixture
def room(write):
    def add(response, sample_rate=SAMPLE_RATE):
        return RecordedRoom("corpus", write(response, sample_rate), len(response), sample_rate)

    return add


@pytest.fixture
def rendered(tmp_path):
    def render_sources(*sources, noise=None, duration_s=1.0, channels="average"):
        recipe = Recipe(
            "train-000000000", "train", SAMPLE_RATE, duration_s, channels, sources, noise=noise
        )
        return render(recipe, PartReader({"corpus": str(tmp_path)}), Scratch())

    return render_sources


def a_noise(path, kind, level, *, num_frames=8000, duration_s=2.0):
    stop = round(duration_s * SAMPLE_RATE)
    return Noise("corpus", path, 0, stop, num_frames, SAMPLE_RATE, kind, level)


def white(duration_s, seed=0, level=0.05):
    samples = np.random.default_rng(seed).normal(0, level, round(duration_s * SAMPLE_RATE))
    return samples.astype(np.float32)


def decibels(numerator, denominator):
    powers = (np.mean(np.square(one, dtype=np.float64)) for one in (numerator, denominator))
    return 10 * math.log10(next(powers) / next(powers))


@pytest.mark.parametrize("snr_db", [-10, 0, 3.5, 12, 30])
@pytest.mark.parametrize("level", [-6.0, 20.0])
def test_the_sources_stand_over_the_noise_as_asked(source, write, rendered, snr_db, level):
    mixture = rendered(
        source(voice(100, 1), level=level),
        source(voice(157, 0.5), offset_s=0.2),
        noise=a_noise(write(white(2)), "snr_db", snr_db),
    )
    speech = mixture.sources.astype(int).sum(axis=0)
    assert decibels(speech, mixture.noise) == pytest.approx(snr_db, abs=0.02)
    np.testing.assert_array_equal(speech + mixture.noise, mixture.mixture)


@pytest.mark.parametrize("loudness_lufs", [-38, -30])
def test_a_noise_has_the_loudness_that_was_asked(source, write, rendered, loudness_lufs):
    mixture = rendered(
        source(voice(100, 1)), noise=a_noise(write(white(2)), "loudness_lufs", loudness_lufs)
    )
    noise = mixture.noise.astype(np.float32) / 32768
    assert integrated_loudness_lufs(noise, SAMPLE_RATE) == pytest.approx(loudness_lufs, abs=0.1)


@pytest.mark.parametrize("kind", ["snr_db", "loudness_lufs"])
def test_a_noise_without_sound_is_its_files_fault(source, write, rendered, kind):
    with pytest.raises(UnusablePartError) as caught:
        rendered(source(voice(100, 1)), noise=a_noise(write(np.zeros(16_000)), kind, 10))
    assert (caught.value.index, caught.value.reason) == (1, "silence")


def a_response(seed=0, *, delay=40, tail=1500):
    """Returns a response: silence, the direct sound, and a tail that decays."""
    response = np.random.default_rng(seed).normal(0, 0.1, tail) * np.exp(-np.arange(tail) / 200)
    response[:30] = 0
    return np.concatenate([np.zeros(delay), [0.5, 1.0, 0.5], response]).astype(np.float32)


def convolved(sound, response, direct):
    """Computes a convolution by its definition, from the direct sound on."""
    whole = np.zeros(len(sound) + len(response) - 1)
    for lag, weight in enumerate(response):
        whole[lag : lag + len(sound)] += weight * sound.astype(np.float64)
    return whole[direct:]


def test_a_source_in_a_room_is_its_convolution_at_its_own_level_and_offset(source, room, rendered):
    sound, response = voice(100, 0.5), a_response()
    placed = source(sound, room=room(response), offset_s=0.25, level=-6.0)
    mixture = rendered(placed)
    heard = convolved(sound, response, direct=41)
    direct_only = response.copy()
    direct_only[41 + round(0.0025 * SAMPLE_RATE) + 1 :] = 0
    direct = convolved(sound, direct_only, direct=41)
    gain = 10 ** (-6 / 20) * math.sqrt(np.square(sound).mean() / np.square(heard[:4000]).mean())
    for stored, expected in ((mixture.sources[0], heard), (mixture.dry_sources[0], direct)):
        np.testing.assert_allclose(stored[:2000], 0)
        np.testing.assert_allclose(
            stored[2000:8000] / 32768, np.pad(gain * expected, (0, 6000))[:6000], atol=STEP
        )
    assert mixture.levels_dbfs[0] == pytest.approx(decibels(sound, np.ones(1)) - 6, abs=0.01)


def test_the_tail_of_a_room_ends_with_the_mixture(source, room, rendered):
    placed = source(voice(100, 0.5), room=room(a_response()))
    (whole,), (cut,) = rendered(placed).sources, rendered(placed, duration_s=0.5).sources
    assert whole[4000:4200].any()
    np.testing.assert_array_equal(cut, whole[:4000])


def test_what_a_speaker_says_in_a_conversation_sounds_in_one_room(source, room, rendered):
    utterances, place = [voice(100, 0.25), voice(100, 0.3)], room(a_response())
    sources = [
        dataclasses.replace(source(sound, offset_s=offset_s, level=-3.0), speaker="a", row=0)
        for sound, offset_s in zip(utterances, (0.125, 0.5), strict=True)
    ]
    sources = [dataclasses.replace(one, room=place) for one in sources]
    line = np.zeros(8000, np.float32)
    line[1000:3000], line[4000:6400] = utterances
    whole = source(line[1000:6400], offset_s=0.125, level=-3.0, room=place)
    apart, together = rendered(*sources), rendered(whole)
    for name in ("sources", "dry_sources"):
        np.testing.assert_array_equal(getattr(apart, name), getattr(together, name))


@pytest.mark.parametrize("level_kind", ["rms_dbfs", "loudness_lufs"])
def test_a_level_is_that_of_what_is_heard_in_the_room(source, room, rendered, level_kind):
    placed = source(voice(100, 1), room=room(a_response()), level_kind=level_kind, level=-30.0)
    (heard,) = rendered(placed, duration_s=1).sources / np.float32(32768)
    level = (
        decibels(heard, np.ones(1))
        if level_kind == "rms_dbfs"
        else integrated_loudness_lufs(heard, SAMPLE_RATE)
    )
    assert level == pytest.approx(-30, abs=0.05)


def test_the_reverberation_of_a_response_is_measured(source, room, rendered):
    decay_s = 0.3
    time_s = np.arange(0, 0.5, 1 / SAMPLE_RATE)
    tail = white(0.5, level=1.0) * 10 ** (-3 * time_s / decay_s)
    response = np.concatenate([[10 * np.abs(tail).max()], np.zeros(20), tail])
    (measured,) = rendered(source(voice(100, 0.5), room=room(response))).rooms
    assert measured.rt60_s == pytest.approx(decay_s, rel=0.1)
    expected_db = 10 * math.log10(response[0] ** 2 / np.square(tail).sum())
    assert measured.direct_to_reverberant_db == pytest.approx(expected_db, abs=0.01)


@pytest.mark.parametrize("channels", ["average", 0, 1])
def test_a_response_of_two_channels_is_picked_or_averaged(source, room, rendered, channels):
    sound, pair = voice(100, 0.5), np.stack([a_response(1), a_response(2)], axis=1)
    mono = pair.mean(axis=1) if channels == "average" else pair[:, channels]
    stereo = np.stack([sound, sound], axis=1)
    got = rendered(source(stereo, room=room(pair)), channels=channels)
    expected = rendered(source(sound, room=room(mono)))
    np.testing.assert_allclose(got.sources, expected.sources, atol=1)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (np.zeros(4000), "silence"),
        (np.ones(31 * SAMPLE_RATE), "longer than 30 s, no room response"),
    ],
    ids=["silence", "no response"],
)
def test_a_bad_response_is_at_fault_and_not_the_speech(source, room, rendered, response, reason):
    with pytest.raises(UnusablePartError) as caught:
        rendered(source(voice(100, 1)), source(voice(157, 1), room=room(response)))
    assert (caught.value.index, caught.value.reason) == (2, reason)


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_changes_length_and_pitch(source, rendered, speed):
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 400 * time_s) * 0.5
    placed = source(tone, speed=speed)
    (heard,) = rendered(placed, duration_s=2.0).sources
    assert np.flatnonzero(np.abs(heard) > 100)[-1] == pytest.approx(SAMPLE_RATE / speed, abs=20)
    spectrum = np.abs(np.fft.rfft(heard[:4000]))
    assert np.argmax(spectrum) * SAMPLE_RATE / 4000 == pytest.approx(400 * speed, abs=3)


@pytest.mark.parametrize(
    ("size_m", "rt60_s"), [((5, 4, 3), 0.2), ((5, 4, 3), 0.4), ((8, 6, 2.5), 0.3), ((3, 3, 3), 0.2)]
)
def test_a_simulated_room_decays_as_fast_as_asked(size_m, rt60_s):
    room = SimulatedRoom(size_m, rt60_s, (1.1, 1.3, 1.5), (1.9, 2.1, 1.5))
    response = simulate_response(room, SAMPLE_RATE)
    assert response.rt60_s == pytest.approx(rt60_s, rel=0.2)
    assert np.argmax(np.abs(response.samples)) == response.direct


@pytest.mark.parametrize(
    ("size_m", "speaker_m", "absorption", "order"),
    [
        ((5.13, 4.2, 2.9), (1.1, 2.34, 1.61), 0.485601647, 16),
        ((3.0, 7.7, 2.51), (2.5, 0.3, 1.0), 0.0912, 9),
        ((4, 4, 4), (1, 2, 1.5), 0.9, 1),
    ],
)
def test_the_images_of_a_speaker_are_those_that_pyroomacoustics_finds(
    size_m, speaker_m, absorption, order
):
    walls = pyroomacoustics.Material(absorption)
    shoebox = pyroomacoustics.ShoeBox(size_m, fs=8000, materials=walls, max_order=order)
    shoebox.add_source(speaker_m)
    shoebox.add_microphone((0.5, 0.6, 0.7))
    shoebox.image_source_model()
    (speaker,) = shoebox.sources
    images, damping = find_images(size_m, speaker_m, absorption, order)
    np.testing.assert_array_equal(images, speaker.images)
    np.testing.assert_array_equal(damping, speaker.damping)
    assert shoebox.visibility[0].all()


def test_the_first_reflections_of_a_simulated_room_come_from_its_walls():
    speaker_m, microphone_m, size_m = (1.2, 1.9, 1.4), (3.1, 2.2, 1.4), (5.0, 4.3, 2.9)
    room = SimulatedRoom(size_m, 0.2, microphone_m, speaker_m)
    response = simulate_response(room, 48_000)
    direct_m = math.dist(speaker_m, microphone_m)
    peak = response.samples[response.direct]
    for axis, side_m in enumerate(size_m):
        for image_m in (-speaker_m[axis], 2 * side_m - speaker_m[axis]):
            image = [*speaker_m[:axis], image_m, *speaker_m[axis + 1 :]]
            reflected_m = math.dist(image, microphone_m)
            at = response.direct + round((reflected_m - direct_m) / 343 * 48_000)
            loudest = np.abs(response.samples[at - 1 : at + 2]).max() / peak
            # All walls absorb alike: each image has lost that once, and more by its distance.
            assert loudest * reflected_m / direct_m == pytest.approx(0.75, abs=0.2)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Writes speech, noise with two bad files in it, and two rooms with a bad response."""
    folder = tmp_path_factory.mktemp("corpora")
    write_corpus(folder / "speech")
    (folder / "noise").mkdir()
    for number in range(6):
        sound = white(1.2 + 0.5 * number, seed=number)
        soundfile.write(folder / "noise" / f"{number}.wav", sound, SAMPLE_RATE)
    soundfile.write(folder / "noise" / "cut_off.flac", white(3, 9), SAMPLE_RATE)
    cut_off = (folder / "noise" / "cut_off.flac").read_bytes()
    (folder / "noise" / "cut_off.flac").write_bytes(cut_off[: len(cut_off) // 2])
    soundfile.write(folder / "noise" / "silence.wav", np.zeros(30_000), SAMPLE_RATE)
    for number in range(8):
        path = folder / "rooms" / f"room{number % 2}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, a_response(number) / 2, SAMPLE_RATE)
    soundfile.write(folder / "rooms" / "room0" / "silence.wav", np.zeros(2000), SAMPLE_RATE)
    return folder


ASKED = ("--splits=train=0.6,test=0.4", "--num_mixtures=24", "--num_shards=2")


def build_scene(corpora, output, scene, *arguments, workers=1, mode="in_memory"):
    recipe = write_recipe(output.parent / "recipe.json", **scene)
    folders = [f"--noise={corpora / 'noise'}"]
    folders += [f"--rooms={corpora / 'rooms'}"] if scene["rooms"] == "recorded" else []
    return build(
        *(f"--recipe={recipe}", *ASKED, *folders, *arguments),
        *(f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"),
        corpus=corpora / "speech",
        output=output,
    )


@pytest.fixture(
    scope="module", params=[RECORDED_SCENE, SIMULATED_SCENE], ids=["recorded", "simulated"]
)
def scene(request):
    return request.param


@pytest.fixture(scope="module")
def built(corpora, scene, tmp_path_factory):
    """Builds a dataset with noise, rooms and speed by one worker."""
    return build_scene(corpora, tmp_path_factory.mktemp("built") / "mixtures", scene)


def test_bad_noise_and_responses_are_rejected_and_replaced(built, corpora, scene):
    assert built.status == 3
    assert built.num_mixtures == 24
    expected = {"noise/silence.wav": "silence", "noise/cut_off.flac": "not decoded"}
    if scene["rooms"] == "recorded":
        expected["rooms/room0/silence.wav"] = "silence"
    assert {path.removeprefix(f"{corpora}/") for path in built.rejected} == set(expected)
    for path, reason in expected.items():
        assert built.rejected[str(corpora / path)].startswith(reason)
    used = {part.path for recipe in built.recipes() for part in recipe.parts}
    assert not {"silence.wav", "cut_off.flac", "room0/silence.wav"} & used


def test_two_threads_write_the_same_bytes_as_one_worker(built, corpora, scene, tmp_path):
    again = build_scene(corpora, tmp_path / "mixtures", scene, workers=2, mode="multi_threading")
    assert again.digests == built.digests


def test_what_was_asked_of_a_scene_and_what_came_of_it_agree(built, scene):
    asked = {row["title"]: row for row in built.quality["asked"]}
    assert asked["Speed of an utterance"]["asked"] == "0.9, 1, 1.1 times"
    histograms = built.quality["histograms"]
    assert histograms["speed"]["min"] == 0.9
    assert histograms["speed"]["max"] == 1.1
    assert histograms["direct_to_reverberant_db"]["num"] == 48
    assert set(built.quality["checks"].values()) == {0}
    if scene is RECORDED_SCENE:
        levels = [recipe.noise.level for recipe in built.recipes()]
        snr = histograms["snr_db"]
        assert (snr["num"], snr["min"], snr["max"]) == pytest.approx(
            (24, min(levels), max(levels)), abs=0.05
        )
        assert asked["Sources over noise"]["asked"] == "0 to 20 dB"
    else:
        assert histograms["noise_lufs"]["min"] == pytest.approx(-35, abs=0.2)
        assert histograms["noise_lufs"]["max"] == pytest.approx(-35, abs=0.2)
        rt60_s = histograms["rt60_s"]
        assert 0.1 < rt60_s["min"] < rt60_s["mean"] < rt60_s["max"] < 0.35
        in_rooms = histograms["mixtures_in_room"]
        assert in_rooms["num"] == len(set(rooms_of(built.recipes())))
        assert in_rooms["num"] * in_rooms["mean"] == pytest.approx(24, abs=0.01)
        assert in_rooms["max"] > 1
        assert asked["Reverberation time"]["asked"] == "0.15 to 0.25 s"


@needs_tensorflow
def test_tensorflow_datasets_reads_noise_and_dry_sources(built):
    import tensorflow_datasets as tfds  # noqa: PLC0415

    builder = tfds.builder_from_directory(str(built.folder))
    examples = list(tfds.as_numpy(builder.as_dataset(split="train")))
    assert examples
    for example in examples:
        sources, dry = example["sources"].astype(int), example["dry_sources"].astype(int)
        assert sources.shape == dry.shape == (2, len(example["mixture"]))
        np.testing.assert_array_equal(sources.sum(axis=0) + example["noise"], example["mixture"])
        assert dry.any(axis=1).all()


def test_a_dataset_with_a_scene_is_verified(built):
    assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
    described = open_dataset(str(built.folder))
    (features, *_) = built.examples()
    assert not list(verification.check_record(features, described))
    features["dry_sources"] = [features["dry_sources"][0][2:]]
    assert list(verification.check_record(features, described)) == [
        "its dry sources are not as long as its sources"
    ]


def test_a_dry_run_counts_noise_and_responses_apart(corpora, tmp_path):
    dry = build_scene(corpora, tmp_path / "mixtures", RECORDED_SCENE, "--dry_run")
    lines = [line.split(maxsplit=1) for line in dry.printed.splitlines()]
    said = {words[0]: words[1] for words in lines if len(words) == 2}
    assert said["utterances"].startswith("24, ")
    assert (said["speakers"], said["noise"], said["rooms"]) == ("8", "8 files", "9 files")


def test_a_scene_is_rendered_again_byte_by_byte_from_its_recipes(built, corpora, scene, tmp_path):
    folders = [f"--noise={corpora / 'noise'}"]
    folders += [f"--rooms={corpora / 'rooms'}"] if scene is RECORDED_SCENE else []
    again = build(
        *(f"--recipes={built.folder}/recipes/*.jsonl", "--num_shards=2", *folders),
        corpus=corpora / "speech",
        output=tmp_path / "mixtures",
    )
    assert again.status == 0
    assert again.digests == built.digests


@pytest.mark.parametrize(
    ("scene", "options", "complaint"),
    [
        ({"noise": NOISE}, [], "asks for noise: name a folder of it with --noise"),
        ({}, ["--noise={noise}"], "--noise does not go with --recipe="),
        ({"rooms": "recorded"}, [], "asks for recorded rooms: name a folder of responses with"),
        ({}, ["--rooms={rooms}"], "--rooms does not go with --recipe="),
        ({"rooms": SIMULATED}, ["--rooms={rooms}"], "which simulates its rooms: leave one of them"),
        ({"noise": NOISE}, ["--noise={noise}/nowhere"], "nowhere: there is no folder"),
        ({"noise": NOISE}, ["--noise={empty}"], "--noise has 0 usable files"),
        ({"noise": NOISE}, ["--noise={speech}"], "--noise: both"),
        (
            {"rooms": {"simulated": SIMULATED["simulated"] | {"distance_m": 4}}},
            [],
            "rooms: distance_m of 4 does not fit into every room where length_m, width_m and",
        ),
        (
            {"rooms": {"simulated": SIMULATED["simulated"] | {"rt60_s": 2}}},
            [],
            "rooms: rt60_s of 2 takes too many reflections to simulate where length_m, width_m",
        ),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(
    corpora, tmp_path, scene, options, complaint
):
    folders = {name: corpora / name for name in ("noise", "rooms", "speech")}
    folders["empty"] = tmp_path / "empty"
    folders["empty"].mkdir()
    refused = build(
        f"--recipe={write_recipe(tmp_path / 'recipe.json', **scene)}",
        *(option.format(**folders) for option in options),
        corpus=corpora / "speech",
        output=tmp_path / "mixtures",
    )
    assert refused.status == 1
    # Who speaks is said as soon as the catalogue is there.
    *summary, line = refused.complaints.splitlines()
    assert all("layout speaker_folders" in one for one in summary)
    assert complaint in line
    assert not list((tmp_path / "mixtures").glob("*.tfrecord-*"))


def test_simulated_rooms_say_what_they_need(corpora, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    refused = build_scene(corpora, tmp_path / "mixtures", SIMULATED_SCENE)
    assert refused.status == 1
    assert refused.complaints.endswith("pip install 'spleeter-beam[rooms]'\n")
    with pytest.raises(ImportError, match="pip install"):
        simulate_response(SimulatedRoom((3, 3, 3), 0.2, (1, 1, 1), (2, 2, 1)), SAMPLE_RATE)


def test_a_file_without_the_channel_that_a_recipe_picks_is_rejected(tmp_path):
    for speaker in range(5):
        (tmp_path / "speech" / f"{speaker}").mkdir(parents=True)
        for number, channels in enumerate([2, 1 if speaker == 4 else 2]):
            sound = np.stack([voice(90 + 20 * speaker + k, 0.5) for k in range(channels)], axis=1)
            soundfile.write(tmp_path / "speech" / f"{speaker}/{number}.wav", sound, SAMPLE_RATE)
    recipe = write_recipe(tmp_path / "recipe.json", channels=1)
    made = build(
        *(f"--recipe={recipe}", "--splits=train=1", "--num_mixtures=10"),
        corpus=tmp_path / "speech",
        output=tmp_path / "mixtures",
    )
    assert (made.status, made.num_mixtures) == (3, 10)
    assert made.rejected == {str(tmp_path / "speech/4/1.wav"): "no channel 1: the file has 1"}
    recipe = made.recipes()[0]
    for source, stored in zip(
        recipe.sources,
        np.frombuffer(made.examples()[0]["sources"][0], "<i2").reshape(2, -1),
        strict=True,
    ):
        sound, _ = soundfile.read(tmp_path / "speech" / source.path)
        start = round(source.offset_s * SAMPLE_RATE)
        gain = 10 ** ((source.level + recipe.common_gain_db) / 20)
        np.testing.assert_allclose(
            stored[start : start + len(sound)] / 32768, gain * sound[:, 1], atol=STEP
        )
