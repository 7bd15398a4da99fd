"""Channels of transmission: what is drawn, what mixtures become, and what datasets say of it."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_datasets import RECIPE, build, voice, write_corpus, write_recipe

from beam_jobs import verify_dataset
from beam_jobs.audio import pyav_codecs
from beam_jobs.audio.codecs import through_codec
from beam_jobs.corpora.catalogue import open_catalogue
from beam_jobs.corpora.layout import parse_corpora
from beam_jobs.dataset import verification
from beam_jobs.dataset.reading import open_dataset
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.given_recipes import find_given_recipes
from beam_jobs.recipes.plan import PlanOptions
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.recipe_format import BadRecipeError, RecipeContext
from beam_jobs.recipes.transmission import draw_transmission
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import encode_mixture, render
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.rendering.transmission import clip, follow_level, limit_band, transmit
from schemas.pcm import to_pcm, to_samples
from schemas.recipe import parse_recipe
from schemas.recipe_config import parse_recipe_config
from schemas.tfrecord import decode_example
from schemas.transmission import AutomaticGain, Band, Clipping, Codec
from schemas.validation import InvalidDocumentError

TELEPHONE = {"band": {"low_hz": 300, "high_hz": 3400}}
CHANNELS = {
    "choices": [
        [],
        [TELEPHONE, {"mu_law": {"packet_loss": {"uniform": [0.1, 0.3]}}}],
        [{"automatic_gain": {"level_dbfs": {"uniform": [-30, -20]}}}, {"gsm": {}}],
        [{"clipping": {"below_peak_db": 6}}, {"opus": {"kbps": {"uniform": [6, 24]}}}],
        [{"amr_nb": {"kbps": {"choices": [4.75, 12.2]}, "packet_loss": 0.1}}],
        [{"mp3": {"kbps": {"choices": [16, 32]}}}],
    ]
}


def config_with(transmission):
    return parse_recipe_config(json.dumps(RECIPE | {"transmission": transmission}), "recipe")


def tone(hz, sample_rate, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(sample_rate) / sample_rate)).astype(
        np.float32
    )


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
def test_a_band_has_what_is_in_it_untouched_and_nothing_else(sample_rate):
    band = Band(300, 3400)
    inner = slice(sample_rate // 10, -sample_rate // 10)
    for hz in (350, 1000, 2000, 3350):
        sound = tone(hz, sample_rate)
        # In place, too: there is no delay at any frequency.
        np.testing.assert_allclose(
            limit_band(sound, band, sample_rate)[inner], sound[inner], atol=1e-3
        )
    for hz in (60, 200, 250, 3450, 3600, 3900):
        heard = limit_band(tone(hz, sample_rate), band, sample_rate)[inner]
        assert 20 * np.log10(np.abs(heard).max() / 0.5) < -58
    for hz in (300, 3400):
        heard = limit_band(tone(hz, sample_rate), band, sample_rate)[inner]
        assert np.abs(heard).max() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("band", [Band(0, 8000), Band(0, 20000)])
def test_a_band_without_an_edge_below_half_the_rate_changes_nothing(band):
    sound = tone(1000, 16000)
    np.testing.assert_array_equal(limit_band(sound, band, 16000), sound)


def test_clipping_cuts_what_is_above_the_peak_less_so_many_db():
    sound = tone(100, 8000)
    heard = clip(sound, Clipping(20 * np.log10(2)))
    np.testing.assert_allclose(heard, np.clip(sound, -0.25, 0.25), atol=1e-6)
    np.testing.assert_array_equal(clip(sound, Clipping(0)), sound)


@pytest.mark.parametrize("level_db", [-50, -30, -10])
def test_an_automatic_gain_brings_speech_of_any_level_to_the_one_asked(level_db):
    sound = voice(100, 5)
    sound = sound * np.float32(10 ** (level_db / 20) / np.sqrt(np.square(sound).mean()))
    heard = follow_level(sound, AutomaticGain(-25), 8000)
    reached = 10 * np.log10(np.square(heard[16000:]).mean())
    assert reached == pytest.approx(-25, abs=0.5)


def test_an_automatic_gain_waits_in_pauses_and_ends_at_30_db():
    sound = np.concatenate([voice(100, 2), np.full(40000, 1e-4, np.float32), voice(100, 1)])
    heard = follow_level(sound, AutomaticGain(-25), 8000)
    in_pause = heard[20000:50000] / sound[20000:50000]
    assert np.ptp(in_pause) < 1e-3
    whisper = voice(100, 5, level=0.005)
    louder = follow_level(whisper, AutomaticGain(0), 8000)
    assert louder[-1] / whisper[-1] == pytest.approx(31.62, rel=1e-3)


def test_steps_are_taken_in_order():
    mixture = to_pcm(voice(100, 1))
    first = transmit(mixture, [Band(300, 3400), Clipping(6)], 8000)
    second = transmit(mixture, [Clipping(6), Band(300, 3400)], 8000)
    assert (first != second).any()
    expected = through_codec(
        limit_band(to_samples(mixture), Band(300, 3400), 8000), 8000, Codec("gsm")
    )
    np.testing.assert_array_equal(
        transmit(mixture, [Band(300, 3400), Codec("gsm")], 8000), to_pcm(expected)
    )
    np.testing.assert_array_equal(transmit(mixture, [], 8000), mixture)


def test_channels_are_equally_likely_and_packets_get_lost_as_often_as_asked():
    channels = config_with(CHANNELS).transmission
    drawn = [
        draw_transmission(channels, 20.0, seed=0, mixture_id=str(number)) for number in range(1200)
    ]
    kinds = [tuple(type(step).__name__ for step in steps) for steps in drawn]
    names = [steps[-1].name if steps else "" for steps in drawn]
    assert {names.count(name) for name in set(names)} <= set(range(160, 240))
    assert len(set(kinds)) == 5
    codecs = {name: [one[-1] for one in drawn if one and one[-1].name == name] for name in names}
    losses = [len(one.lost_packets) / 1000 for one in codecs["mu_law"]]
    assert np.mean(losses) == pytest.approx(0.2, abs=0.01)
    assert 0.07 < min(losses) < 0.13
    assert 0.27 < max(losses) < 0.34
    assert {one.kbps for one in codecs["amr_nb"]} == {4.75, 12.2}
    assert all(6 <= one.kbps <= 24 and not one.lost_packets for one in codecs["opus"])


def test_the_order_of_keys_in_a_configuration_changes_nothing():
    one, other = ({"kbps": 12, "packet_loss": 0.1}, {"packet_loss": 0.1, "kbps": 12})
    assert config_with([{"opus": one}]) == config_with([{"opus": other}])


@given(st.integers(0, 10**6))
def test_a_recipe_with_transmission_is_read_back_from_its_json(number):
    channels = config_with(CHANNELS).transmission
    steps = draw_transmission(channels, 5.0, seed=0, mixture_id=str(number))
    recipe = dataclasses.replace(A_RECIPE, transmission=steps)
    assert parse_recipe(recipe.to_json(), "recipe") == recipe


A_RECIPE = parse_recipe(
    json.dumps(
        {
            "version": 1,
            "id": "train-000000000",
            "split": "train",
            "sample_rate": 8000,
            "duration_s": 5.0,
            "channels": "average",
            "common_gain_db": 0.0,
            "sources": [
                {
                    "utterance": "u",
                    "corpus": "c",
                    "path": "u.wav",
                    "speaker": "s",
                    "gender": "",
                    "start": 0,
                    "stop": 100,
                    "file_sample_rate": 8000,
                    "offset_s": 0.0,
                    "level_kind": "gain_db",
                    "level": 0.0,
                }
            ],
        }
    ),
    "recipe",
)


def test_a_recipe_without_transmission_says_nothing_of_it():
    assert "transmission" not in json.loads(A_RECIPE.to_json())
    clean = dataclasses.replace(A_RECIPE, transmission=())
    assert json.loads(clean.to_json())["transmission"] == []


@pytest.mark.parametrize("transmission", [CHANNELS, CHANNELS["choices"][1], []])
def test_a_configuration_is_read_back_from_its_document(transmission):
    config = config_with(transmission)
    assert parse_recipe_config(json.dumps(config.to_document()), "recipe") == config


@pytest.mark.parametrize("name", ["telephone", "broadcast"])
def test_the_presets_need_no_more_than_what_is_installed_with_the_package(name):
    assert not load_recipe_config(name).codecs & {"amr_nb", "opus"}


@pytest.mark.parametrize(
    ("transmission", "complaint"),
    [
        ([{"bandwidth": {}}], "$.transmission[0]: unknown key 'bandwidth'"),
        ([{"band": {"low_hz": 300}}], "$.transmission[0].band: 'high_hz' is a required property"),
        ([{"band": {"low_hz": 3400, "high_hz": 300}}], "band: low_hz is not always below high_hz"),
        ([{"mu_law": {"kbps": 64}}], "$.transmission[0].mu_law: unknown key 'kbps'"),
        ([{"opus": {"kbps": 5}}], "$.transmission[0].opus.kbps: 5 is less than the minimum of 6"),
        ([{"opus": {}}], "$.transmission[0].opus: 'kbps' is a required property"),
        ([{"mp3": {"kbps": 32, "packet_loss": 0.1}}], "mp3: unknown key 'packet_loss'"),
        ([{"amr_nb": {"kbps": 13}}], "$.transmission[0].amr_nb.kbps: 13 is not one of [4.75"),
        (
            [{"gsm": {"packet_loss": {"uniform": [0.3, 0.1]}}}],
            "transmission: gsm.packet_loss: the range ends before it starts",
        ),
        (
            {"choices": [[{"gsm": {"packet_loss": 2}}]]},
            "gsm.packet_loss: 2 is greater than the max",
        ),
        ({"choice": []}, "unknown key 'choice' (did you mean 'choices'?)"),
        ("telephone", "$.transmission: 'telephone' is not of type 'array', 'object'"),
    ],
)
def test_a_mistake_in_a_channel_is_said_with_its_place(transmission, complaint):
    with pytest.raises(InvalidDocumentError) as caught:
        config_with(transmission)
    assert complaint in str(caught.value)


def test_transmission_is_not_for_stereo():
    with pytest.raises(InvalidDocumentError, match="transmission and channels stereo do not go"):
        parse_recipe_config(
            json.dumps(RECIPE | {"transmission": [], "channels": "stereo"}), "recipe"
        )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("speech") / "corpus")


ARGUMENTS = ["--splits=train=1", "--num_mixtures=12", "--num_shards=1"]


def build_with(corpus, output, transmission):
    output.mkdir()
    recipe = write_recipe(output / "recipe.json", transmission=transmission)
    return build(f"--recipe={recipe}", *ARGUMENTS, corpus=corpus, output=output / "mixtures")


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transmitted")
    made = build_with(corpus, folder / "made", CHANNELS)
    assert made.status == 0, made.complaints
    return made


def pcm(example, name):
    return np.frombuffer(example[name][0], "<i2")


def test_transmission_changes_nothing_but_itself(built, corpus):
    options = PlanOptions(
        config=parse_recipe_config(json.dumps(RECIPE), "recipe"),
        seed=0,
        shares={"train": 1.0, "validation": 0.0, "test": 0.0},
        num_mixtures=12,
        num_shards=1,
    )
    plan = DrawnPlan(open_catalogue(str(built.folder / "catalogue.arrow")), options)
    plain = [draft.recipe for draft in plan.drafts(plan.shards[0])]
    reader, scratch = PartReader({"corpus": str(corpus)}), Scratch()
    for recipe, example, other in zip(built.recipes(), built.examples(), plain, strict=True):
        features = decode_example(encode_mixture(render(other, reader, scratch)))
        assert dataclasses.replace(recipe, transmission=None) == parse_recipe(
            features["recipe"][0], "recipe"
        )
        assert example.keys() - features.keys() == {"degraded"}
        del features["recipe"]
        assert features == {name: example[name] for name in features}


def test_a_record_has_the_mixture_and_what_became_of_it(built):
    seen = set()
    for recipe, example in zip(built.recipes(), built.examples(), strict=True):
        mixture, degraded = pcm(example, "mixture"), pcm(example, "degraded")
        sources = pcm(example, "sources").reshape(2, -1)
        np.testing.assert_array_equal(mixture, sources.sum(axis=0, dtype=np.int16))
        expected = transmit(mixture, recipe.transmission, recipe.sample_rate)
        np.testing.assert_array_equal(degraded, expected)
        assert (degraded == mixture).all() == (not recipe.transmission)
        seen.add(len(recipe.transmission))
    assert seen == {0, 1, 2}


def test_the_same_recipes_give_the_same_bytes(built, corpus, tmp_path):
    again = build(
        *(f"--recipes={built.folder}/recipes/*.jsonl", "--num_shards=1"),
        corpus=corpus,
        output=tmp_path / "mixtures",
    )
    assert again.status == 0, again.complaints
    assert again.digests == built.digests


def test_the_job_names_the_libraries_of_the_codecs(built):
    versions = json.loads((built.folder / "job.json").read_text())["versions"]
    assert {"av", "soundfile"} <= {version.split()[0] for version in versions}


def test_the_dataset_says_what_it_has(built):
    features = json.loads((built.folder / "features.json").read_text())["featuresDict"]["features"]
    assert features["degraded"] == features["mixture"]
    assert "| degraded | int16 [samples] |" in (built.folder / "README.md").read_text()
    asked = {one["title"]: one for one in built.quality["asked"]}
    recipes = built.recipes()
    num_clean = sum(not recipe.transmission for recipe in recipes)
    assert asked["Channel: as it is"]["asked"] == "16.7%"
    assert asked["Channel: as it is"]["achieved"] == f"{num_clean / len(recipes):.1%}"
    name = "Channel: band (high_hz 3400, low_hz 300), mu law (packet_loss 0.1 to 0.3)"
    assert asked[name]["asked"] == "16.7%"
    # Always the same, as the channel has it.
    assert "Lower edge of bands" not in asked
    assert "low_hz" not in built.quality["histograms"]
    assert asked["Bit rate of codecs"]["asked"] == (
        "6 to 24 kbit/s or 4.75, 12.2 kbit/s or 16, 32 kbit/s"
    )
    assert {"packet_loss", "degradation_db", "kbps"} <= built.quality["histograms"].keys()
    assert "the mixture after its transmission" in (built.folder / "report.html").read_text()


def test_channels_of_the_same_steps_are_counted_apart(corpus, tmp_path):
    steps = [
        {"band": {"low_hz": 0, "high_hz": {"uniform": [1000, 2000]}}},
        {"band": {"low_hz": 0, "high_hz": 3000}},
        {"clipping": {"below_peak_db": {"uniform": [0, 6]}}},
        {"clipping": {"below_peak_db": {"uniform": [3, 9]}}},
    ]
    names = (
        *("band (high_hz 1000 to 2000, low_hz 0)", "band (high_hz 3000, low_hz 0)"),
        *("clipping (below_peak_db 0 to 6)", "clipping (below_peak_db 3 to 9)"),
    )
    made = build_with(corpus, tmp_path / "made", {"choices": [[step] for step in steps]})
    asked = {one["title"]: one for one in made.quality["asked"]}
    shares = [asked[f"Channel: {name}"] for name in names]
    assert {one["asked"] for one in shares} == {"25.0%"}
    assert asked["Upper edge of bands"]["asked"] == "1000 to 2000 Hz or 3000 Hz"
    counts = [round(12 * float(one["achieved"].rstrip("%")) / 100) for one in shares]
    drawn = [step for recipe in made.recipes() for step in recipe.transmission]
    edges_hz = [step.high_hz for step in drawn if isinstance(step, Band)]
    clipped_db = [step.below_peak_db for step in drawn if isinstance(step, Clipping)]
    assert counts[:2] == [len(edges_hz) - edges_hz.count(3000), edges_hz.count(3000)]
    assert sum(counts[2:]) == len(clipped_db)
    # What only one of them can come to is the least that it has.
    assert counts[2] >= sum(value < 3 for value in clipped_db)
    assert counts[3] >= sum(value > 6 for value in clipped_db)


def test_a_degraded_mixture_of_another_length_is_damage(built, capsys):
    assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
    capsys.readouterr()
    described = open_dataset(str(built.folder))
    features = built.examples()[0]
    assert not list(verification.check_record(features, described))
    features["degraded"] = [features["degraded"][0][2:]]
    assert list(verification.check_record(features, described)) == [
        "its degraded mixture is not as long as the mixture"
    ]


@pytest.fixture
def given_recipes(corpus, tmp_path):
    """Writes recipes as a user gives them, and reads them as a job does."""

    def read(*recipes):
        path = tmp_path / "recipes.jsonl"
        path.write_text("".join(recipe.to_json() + "\n" for recipe in recipes))
        (own,) = parse_corpora([str(corpus)], "auto", "")
        context = RecipeContext({own.name: own}, None, None, sample_rate=0, length="")
        given = find_given_recipes([str(path)], context, skip_missing=False)
        return given, list(given.read(given.files[0]))

    return read


def test_recipes_with_and_without_transmission_are_not_of_one_dataset(built, given_recipes):
    first, second = built.recipes()[:2]
    given, (_, other) = given_recipes(first, dataclasses.replace(second, transmission=None))
    with pytest.raises(BadRecipeError, match="transmission, where the first recipe has none"):
        given.named_files(other)


def test_a_codec_that_is_not_there_is_said_at_once(
    built, corpus, given_recipes, tmp_path, monkeypatch
):
    monkeypatch.setattr(pyav_codecs, "is_available", lambda _: False)
    refused = build_with(corpus, tmp_path / "drawn", [{"amr_nb": {"kbps": 12.2}}])
    assert refused.status == 1
    assert "transmission: amr_nb needs a PyAV with libopencore_amrnb" in refused.complaints
    assert not (tmp_path / "drawn/mixtures").exists()
    clean = dataclasses.replace(built.recipes()[0], transmission=())
    coded = dataclasses.replace(built.recipes()[1], transmission=(Codec("opus", 12),))
    given, (_, other) = given_recipes(clean, coded)
    with pytest.raises(BadRecipeError, match="transmission: opus needs a PyAV with libopus"):
        given.named_files(other)
