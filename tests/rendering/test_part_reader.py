import dataclasses
from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from small_datasets import SAMPLE_RATE, voice

from beam_jobs.rendering import part_reader
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import encode_mixture, render
from beam_jobs.rendering.rooms import simulate_response
from beam_jobs.rendering.scratch import Scratch
from schemas.recipe import Recipe, SimulatedRoom, Source

FILES = {
    "pcm.flac": "PCM_16",
    "fine.flac": "PCM_24",
    "float.wav": "FLOAT",
    "vorbis.ogg": "VORBIS",
    "opus.ogg": "OPUS",
    "speech.mp3": "MPEG_LAYER_III",
}
NUM_FRAMES = 2 * SAMPLE_RATE


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a sound of two channels and two seconds in each of several formats."""
    folder = tmp_path_factory.mktemp("corpus")
    for number, (name, subtype) in enumerate(FILES.items()):
        sound = np.stack([voice(90 + 30 * number, 2), voice(80 + 30 * number, 2)], axis=1)
        soundfile.write(folder / name, sound, SAMPLE_RATE, subtype=subtype)
    return folder


def a_source(path, **placed):
    source = Source(
        utterance=path,
        corpus="corpus",
        path=path,
        speaker=path,
        gender="",
        start=0,
        stop=NUM_FRAMES,
        file_sample_rate=SAMPLE_RATE,
        offset_s=0.0,
        level_kind="gain_db",
        level=-6.0,
    )
    return dataclasses.replace(source, **placed)


def a_recipe(*sources, sample_rate=SAMPLE_RATE, channels="average", duration_s=2.0):
    return Recipe("train-000000000", "train", sample_rate, duration_s, channels, sources)


@st.composite
def sources(draw):
    start = draw(st.sampled_from([0, 0, 0, 3000, 8001]))
    stop = draw(st.sampled_from([NUM_FRAMES, NUM_FRAMES, 9001, 12_000]))
    kind, level = draw(
        st.sampled_from([("gain_db", -3.0), ("rms_dbfs", -30.0), ("loudness_lufs", -28.0)])
    )
    return a_source(
        draw(st.sampled_from(list(FILES))),
        start=start,
        stop=stop,
        level_kind=kind,
        level=level,
        speed=draw(st.sampled_from([None, None, 1.1])),
        channel=draw(st.sampled_from([None, None, 1])),
        offset_s=draw(st.sampled_from([0.0, 0.5])),
    )


@st.composite
def recipes(draw):
    """Draws recipes of a few files, which they share."""
    rate = draw(st.sampled_from([SAMPLE_RATE, 5000]))
    channels = draw(st.sampled_from(["average", "stereo", 0]))
    pairs = draw(st.lists(st.tuples(sources(), sources()), min_size=2, max_size=8))
    return [a_recipe(*pair, sample_rate=rate, channels=channels) for pair in pairs]


@settings(max_examples=30)
@given(recipes(), st.sampled_from([1 << 26, 100_000, 1]))
def test_no_byte_of_a_mixture_depends_on_what_is_kept(corpus, recipes, max_kept_bytes):
    roots = {"corpus": str(corpus)}
    with patch.object(part_reader, "_MAX_KEPT_BYTES", max_kept_bytes):
        reader = PartReader(roots)
    reader.announce(recipes)
    scratch = Scratch()
    for recipe in recipes:
        alone = encode_mixture(render(recipe, PartReader(roots), Scratch()))
        assert encode_mixture(render(recipe, reader, scratch)) == alone


@pytest.fixture
def read_files():
    """Counts how often each file is decoded."""
    counts = Counter()

    def count(path, *arguments):
        counts[path.rpartition("/")[2]] += 1
        return real(path, *arguments)

    real = part_reader.read_segment
    with patch.object(part_reader, "read_segment", count):
        yield counts


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 5000])
def test_a_file_is_decoded_once_for_all_recipes_that_were_announced(corpus, read_files, rate):
    one, two, three = map(a_source, list(FILES)[:3])
    reader = PartReader({"corpus": str(corpus)})
    announced = [a_recipe(one, two, sample_rate=rate), a_recipe(two, three, sample_rate=rate)]
    announced += [a_recipe(dataclasses.replace(one, stop=9000), three, sample_rate=rate)]
    announced += [a_recipe(dataclasses.replace(one, speed=1.1), two, sample_rate=rate)]
    reader.announce(announced)
    for recipe in announced:
        render(recipe, reader, Scratch())
    assert set(read_files.values()) == {1}


@pytest.mark.parametrize("max_kept_bytes", [1 << 26, 1])
def test_a_place_in_a_room_is_simulated_once_for_all_mixtures(corpus, max_kept_bytes):
    places = [
        SimulatedRoom((3.0, 4.0, 2.5), 0.15, (1.0, 1.0, 1.5), (x_m, 2.0, 1.5)) for x_m in (1.0, 2.0)
    ]
    roots = {"corpus": str(corpus)}
    recipes = [
        a_recipe(*(a_source(path, room=one) for path, one in zip(paths, places, strict=True)))
        for paths in (("pcm.flac", "fine.flac"), ("fine.flac", "pcm.flac"))
    ]
    with (
        patch.object(part_reader, "_MAX_KEPT_BYTES", max_kept_bytes),
        patch.object(part_reader, "simulate_response", wraps=simulate_response) as simulate,
    ):
        reader = PartReader(roots)
        reader.announce(recipes)
        rendered = [encode_mixture(render(recipe, reader, Scratch())) for recipe in recipes]
        assert simulate.call_count == (2 if max_kept_bytes > 1 else 4)
    alone = [encode_mixture(render(one, PartReader(roots), Scratch())) for one in recipes]
    assert rendered == alone


def test_what_is_used_once_is_read_as_far_as_it_is_used(corpus):
    reader = PartReader({"corpus": str(corpus)})
    recipe = a_recipe(a_source("pcm.flac", start=100, stop=300))
    reader.announce([recipe])
    assert len(reader.read(recipe.sources[0], recipe)) == 200


def test_a_recipe_that_was_not_announced_may_need_another_part(corpus):
    reader = PartReader({"corpus": str(corpus)})
    announced = a_recipe(a_source("pcm.flac", start=4000, stop=8000))
    reader.announce([announced, announced])
    whole = a_recipe(a_source("pcm.flac"))
    np.testing.assert_array_equal(
        reader.read(whole.sources[0], whole).samples,
        PartReader(reader.corpus_roots).read(whole.sources[0], whole).samples,
    )


def test_files_that_are_too_long_to_be_kept_are_read_in_parts(corpus, read_files):
    with patch.object(part_reader, "_MAX_STRETCH_BYTES", 4 * 10_000):
        reader = PartReader({"corpus": str(corpus)})
        announced = [
            a_recipe(a_source("pcm.flac", start=start, stop=start + 1000))
            for start in (0, 14_000, 5000)
        ]
        reader.announce(announced)
    for recipe in announced:
        assert len(reader.read(recipe.sources[0], recipe)) == 1000
    assert read_files["pcm.flac"] == 3


@pytest.mark.parametrize(("from_rate", "to_rate"), [(16000, 8000), (44100, 16000), (8000, 22050)])
def test_resample_poly_gets_the_filter_that_it_would_design(corpus, from_rate, to_rate):
    one = a_source("float.wav", file_sample_rate=from_rate, channel=0)
    recipe = dataclasses.replace(a_recipe(one, sample_rate=to_rate), resampler="resample_poly")
    read = PartReader({"corpus": str(corpus)}).read(one, recipe)
    sound, _ = soundfile.read(corpus / "float.wav", dtype="float32")
    np.testing.assert_array_equal(read.samples, resample_poly(sound[:, 0], to_rate, from_rate))
