import dataclasses

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from small_datasets import SAMPLE_RATE, voice

from beam_jobs.rendering.loudness import integrated_loudness_lufs
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import UnusablePartError, encode_mixture, render
from beam_jobs.rendering.scratch import Scratch
from schemas.recipe import Recipe, Source, parse_recipe
from schemas.tfrecord import decode_example

# The step of 16-bit samples; each source is rounded to it.
STEP = 1 / 32768


@pytest.fixture
def add_source(tmp_path):
    """Writes a sound as 32-bit float, and returns the source that places it."""

    def add(sound, *, sample_rate=SAMPLE_RATE, suffix=".wav", subtype="FLOAT", **placed):
        number = len(list(tmp_path.iterdir()))
        path = f"{number}{suffix}"
        soundfile.write(tmp_path / path, sound, sample_rate, subtype=subtype)
        source = Source(
            utterance=f"utterance{number}",
            corpus="corpus",
            path=path,
            speaker=f"speaker{number}",
            gender="",
            start=0,
            stop=len(sound),
            file_sample_rate=sample_rate,
            offset_s=0.0,
            level_kind="gain_db",
            level=0.0,
        )
        return dataclasses.replace(source, **placed)

    return add


@pytest.fixture
def rendered(tmp_path):
    def render_sources(*sources, duration_s=1.0, sample_rate=SAMPLE_RATE, channels="average"):
        recipe = Recipe("train-000000000", "train", sample_rate, duration_s, channels, sources)
        return render(recipe, PartReader({"corpus": str(tmp_path)}), Scratch())

    return render_sources


def as_float(pcm):
    return pcm / 32768


def rms_dbfs(sound):
    return 10 * np.log10(np.mean(np.square(as_float(sound), dtype=np.float64)))


LEVELS_DB = st.floats(-40, 60)


@given(
    levels_db=st.lists(LEVELS_DB, min_size=1, max_size=5),
    offsets=st.lists(st.integers(0, 3000), min_size=5, max_size=5),
    num_samples=st.integers(1, 6000),
)
def test_a_mixture_is_the_sum_of_its_sources_and_never_clips(
    tmp_path_factory, levels_db, offsets, num_samples
):
    folder = tmp_path_factory.mktemp("sources")
    sources = []
    for number, level_db in enumerate(levels_db):
        sound = voice(100 + 30 * number, 0.4, level=0.3)
        soundfile.write(folder / f"{number}.wav", sound, SAMPLE_RATE, subtype="FLOAT")
        offset_s = min(offsets[number], num_samples) / SAMPLE_RATE
        sources.append(
            Source(
                f"u{number}", "corpus", f"{number}.wav", f"s{number}", "", 0, len(sound),
                SAMPLE_RATE, offset_s, "gain_db", level_db,
            )
        )  # fmt: skip
    recipe = Recipe(
        "train-000000000", "train", SAMPLE_RATE, num_samples / SAMPLE_RATE, "average",
        tuple(sources),
    )  # fmt: skip
    mixture = render(recipe, PartReader({"corpus": str(folder)}), Scratch())
    total = mixture.sources.sum(axis=0, dtype=np.int64)
    np.testing.assert_array_equal(mixture.mixture, total)
    assert mixture.mixture.shape == (num_samples,)
    for signal in (mixture.mixture, mixture.sources):
        assert np.abs(signal.astype(np.int32)).max() < 32767
    assert mixture.recipe.common_gain_db <= 0


def test_a_loud_mixture_uses_the_whole_scale(add_source, rendered):
    mixture = rendered(
        *(add_source(voice(pitch_hz, 1, level=0.9), level=20.0) for pitch_hz in (100, 157))
    )
    assert np.abs(mixture.mixture.astype(int)).max() >= 32765
    assert mixture.recipe.common_gain_db < -20


def test_a_mixture_that_does_not_clip_keeps_its_level(add_source, rendered):
    sound = voice(100, 1)
    mixture = rendered(add_source(sound), add_source(voice(157, 1)))
    assert mixture.recipe.common_gain_db == 0
    np.testing.assert_allclose(as_float(mixture.sources[0]), sound, atol=STEP / 2)


def test_what_is_stored_is_the_file_with_its_gain_to_the_sample(add_source, rendered):
    sound = voice(100, 0.5)
    source = add_source(sound, level=-6.0, start=100, stop=2100, offset_s=300 / SAMPLE_RATE)
    mixture = rendered(source)
    expected = np.zeros(SAMPLE_RATE)
    expected[300:2300] = sound[100:2100] * 10 ** (-6 / 20)
    np.testing.assert_allclose(as_float(mixture.sources[0]), expected, atol=STEP / 2 + 1e-9)
    assert mixture.gains_db == pytest.approx([-6.0])


@given(st.integers(0, 7999))
def test_a_source_starts_at_its_offset_to_the_sample(tmp_path_factory, offset):
    folder = tmp_path_factory.mktemp("sources")
    soundfile.write(folder / "click.wav", np.full(10, 0.5), SAMPLE_RATE)
    source = Source(
        "u", "corpus", "click.wav", "s", "", 0, 10, SAMPLE_RATE, offset / SAMPLE_RATE, "gain_db", 0
    )
    recipe = Recipe("train-000000000", "train", SAMPLE_RATE, 1.0, "average", (source,))
    mixture = render(recipe, PartReader({"corpus": str(folder)}), Scratch()).mixture
    assert np.flatnonzero(mixture).tolist() == list(range(offset, min(offset + 10, 8000)))


@pytest.mark.parametrize("file_rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_any_sample_rate_becomes_that_of_the_mixture(add_source, rendered, file_rate, rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(file_rate) / file_rate) * 0.5
    mixture = rendered(add_source(tone, sample_rate=file_rate), sample_rate=rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 0.5
    inner = slice(rate // 20, -rate // 20)
    np.testing.assert_allclose(as_float(mixture.sources[0])[inner], expected[inner], atol=2e-3)


def test_channels_are_averaged(add_source, rendered):
    left, right = voice(100, 1), voice(157, 1)
    source = add_source(np.stack([left, right], axis=1))
    np.testing.assert_allclose(
        as_float(rendered(source).sources[0]), (left + right) / 2, atol=STEP / 2 + 1e-7
    )


@pytest.mark.parametrize("channel", [0, 1, 7])
def test_one_channel_can_be_picked(add_source, rendered, channel):
    sound = np.stack([voice(100 + 10 * number, 1) for number in range(8)], axis=1)
    mixture = rendered(add_source(sound), channels=channel)
    np.testing.assert_allclose(as_float(mixture.sources[0]), sound[:, channel], atol=STEP / 2)


def test_a_channel_that_a_file_lacks_is_its_fault(add_source, rendered):
    with pytest.raises(UnusablePartError) as caught:
        rendered(add_source(voice(100, 1)), add_source(voice(157, 1)), channels=1)
    assert (caught.value.index, caught.value.reason) == (0, "no channel 1: the file has 1")


@pytest.mark.parametrize("level_dbfs", [-40.0, -25.0, -16.0])
def test_an_rms_level_is_reached(add_source, rendered, level_dbfs):
    source = add_source(voice(100, 1, level=0.02), level_kind="rms_dbfs", level=level_dbfs)
    assert rms_dbfs(rendered(source).sources[0]) == pytest.approx(level_dbfs, abs=0.01)


@pytest.mark.parametrize("duration_s", [0.1, 0.39, 1.0])
@pytest.mark.parametrize("loudness_lufs", [-33.0, -25.0])
def test_a_loudness_is_reached(add_source, rendered, duration_s, loudness_lufs):
    sound = voice(100, duration_s, level=0.02)
    source = add_source(sound, level_kind="loudness_lufs", level=loudness_lufs)
    mixture = rendered(source, duration_s=duration_s)
    achieved = integrated_loudness_lufs(
        as_float(mixture.sources[0]).astype(np.float32), SAMPLE_RATE
    )
    assert achieved == pytest.approx(loudness_lufs, abs=0.05)


def test_a_source_that_was_cut_to_nothing_is_silent(add_source, rendered):
    sound = voice(100, 0.5)
    gone = add_source(sound, sample_rate=16000, start=len(sound), stop=len(sound))
    mixture = rendered(gone, add_source(voice(157, 1)))
    assert not mixture.sources[0].any()
    assert mixture.sources[1].any()


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (np.zeros(4000), "silence"),
        (np.full(4000, 1e-5), "silence"),
        (np.full(4000, np.nan), "samples that are infinite or not numbers"),
        (np.append(voice(100, 0.5), np.inf), "samples that are infinite or not numbers"),
        (np.append(voice(100, 0.5), -np.inf), "samples that are infinite or not numbers"),
        (1e30 * voice(100, 0.5), "samples far beyond full scale"),
    ],
    ids=["zeros", "quieter than 16 bits", "not numbers", "infinite", "minus infinite", "enormous"],
)
@pytest.mark.parametrize("level_kind", ["gain_db", "rms_dbfs", "loudness_lufs"])
def test_sound_that_is_none_is_refused_with_its_reason(
    add_source, rendered, sound, reason, level_kind
):
    with pytest.raises(UnusablePartError) as caught:
        rendered(add_source(voice(100, 1)), add_source(sound, level_kind=level_kind, level=-25))
    assert caught.value.index == 1
    assert caught.value.reason == reason


def test_the_record_holds_what_was_rendered(add_source, rendered):
    mixture = rendered(
        add_source(voice(100, 1), level=3.0), add_source(voice(157, 0.5), offset_s=0.25)
    )
    features = decode_example(encode_mixture(mixture))
    assert features["id"] == [b"train-000000000"]
    assert features["sample_rate"] == [SAMPLE_RATE]
    assert features["speakers"] == [b"speaker0", b"speaker1"]
    assert features["offsets_s"] == [0.0, 0.25]
    assert features["gains_db"] == pytest.approx(mixture.gains_db, abs=1e-5)
    np.testing.assert_array_equal(np.frombuffer(features["mixture"][0], "<i2"), mixture.mixture)
    np.testing.assert_array_equal(
        np.frombuffer(features["sources"][0], "<i2").reshape(2, -1), mixture.sources
    )
    assert parse_recipe(features["recipe"][0], "record") == mixture.recipe


def test_memory_that_is_used_again_leaves_nothing_behind(add_source, tmp_path):
    loud, short = add_source(voice(100, 1)), add_source(voice(157, 0.2), offset_s=0.1)
    scratch = Scratch()

    def once(scratch, *sources, duration_s):
        recipe = Recipe("train-000000000", "train", 8000, duration_s, "average", sources)
        return encode_mixture(render(recipe, PartReader({"corpus": str(tmp_path)}), scratch))

    once(scratch, loud, loud, duration_s=1.0)
    again = once(scratch, short, short, duration_s=0.5)
    assert again == once(Scratch(), short, short, duration_s=0.5)
