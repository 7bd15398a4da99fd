import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_datasets import RECIPE, build, write_corpus
from test_planning import a_recipe, utterance

from beam_jobs.recipes.overlap import overlap_offsets
from beam_jobs.recipes.presets import load_recipe_config
from schemas.recipe import overlap_ratio
from schemas.recipe_config import Uniform, parse_recipe_config
from schemas.validation import InvalidDocumentError

LENGTHS = st.lists(st.integers(800, 200_000), min_size=2, max_size=5)


def achieved(offsets, lengths):
    """Returns the share of overlap, counted sample by sample."""
    changes = sorted(
        [(offset, 1) for offset in offsets]
        + [(offset + length, -1) for offset, length in zip(offsets, lengths, strict=True)]
    )
    spoken = overlapped = active = before = 0
    for place, change in changes:
        spoken += (place - before) * (active > 0)
        overlapped += (place - before) * (active > 1)
        before = place
        active += change
    return Fraction(overlapped, spoken)


@given(st.integers(800, 200_000), st.integers(800, 200_000), st.floats(0, 1))
def test_two_sources_overlap_as_asked_to_the_sample_where_they_can(first, second, ratio):
    offsets = overlap_offsets([first, second], ratio)
    most = min(first, second) / max(first, second)
    total = first + second
    wanted = min(ratio, most)
    # A sample more or less of overlap changes the share by this much.
    step = 2 * total / (total - min(first, second)) ** 2
    assert float(achieved(offsets, [first, second])) == pytest.approx(wanted, abs=step)


@settings(max_examples=150)
@given(LENGTHS, st.floats(0, 1))
def test_more_sources_overlap_as_asked_where_neighbours_can(lengths, ratio):
    offsets = overlap_offsets(lengths, ratio)
    assert offsets[0] == 0
    assert offsets == sorted(offsets)
    whole = float(achieved(overlap_offsets(lengths, 1.0), lengths))
    found = float(achieved(offsets, lengths))
    stops = [offset + length for offset, length in zip(offsets, lengths, strict=True)]
    assert overlap_ratio(zip(offsets, stops, strict=True)) == pytest.approx(found)
    if ratio <= whole:
        assert found == pytest.approx(ratio, abs=4 * len(lengths) / max(lengths))
    else:
        assert found >= whole - 1e-3


@given(LENGTHS)
def test_without_overlap_sources_follow_one_another(lengths):
    offsets = overlap_offsets(lengths, 0.0)
    assert offsets == [sum(lengths[:number]) for number in range(len(lengths))]


def test_equal_sources_overlap_wholly():
    for count in (2, 3, 4, 5):
        assert overlap_offsets([8000] * count, 1.0) == [0] * count


@pytest.mark.parametrize("num_speakers", [2, 3, 4, 5])
def test_a_thousand_recipes_have_the_overlap_that_was_asked_for(num_speakers):
    numbers = np.random.default_rng(num_speakers)
    for seed in range(1000):
        ratio = numbers.uniform(0, 0.4)
        config = dataclasses.replace(
            load_recipe_config("sparse", sample_rate=int(numbers.choice([8000, 16000]))),
            num_speakers=num_speakers,
            overlap_ratio=Uniform(ratio, ratio),
        )
        utterances = [
            utterance(
                f"speaker{number}",
                0,
                duration_s=numbers.uniform(3, 6),
                sample_rate=int(numbers.choice([8000, 22050, 44100])),
            )
            for number in range(num_speakers)
        ]
        recipe = a_recipe(config, seed, utterances)
        assert recipe.overlap_ratio == pytest.approx(ratio, abs=num_speakers * 2e-4)


def test_a_range_of_ratios_is_drawn_from():
    config = dataclasses.replace(load_recipe_config("sparse"), overlap_ratio=Uniform(0.1, 0.4))
    utterances = [utterance("anna", 0, duration_s=6), utterance("bert", 0, duration_s=5)]
    ratios = [a_recipe(config, seed, utterances).overlap_ratio for seed in range(300)]
    assert 0.0999 < min(ratios) < 0.12
    assert 0.38 < max(ratios) < 0.4001


def test_rendered_sources_overlap_as_asked(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=6, num_utterances=2)
    document = {name: value for name, value in RECIPE.items() if name != "offset_s"}
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(document | {"overlap_ratio": 0.3, "num_speakers": 3}), "utf-8")
    built = build(
        f"--recipe={recipe}",
        "--splits=train=1",
        "--num_shards=1",
        corpus=corpus,
        output=tmp_path / "mixtures",
    )
    for features in built.examples():
        sources = np.frombuffer(features["sources"][0], np.int16).reshape(3, -1)
        num_heard = (sources != 0).sum(axis=0)
        # A voice crosses zero now and then.
        assert (num_heard > 1).mean() == pytest.approx(0.3, abs=0.03)
    (asked,) = built.quality["asked"]
    assert asked == {
        "title": "Time in which sources overlap",
        "asked": "0.3 of the speech",
        "achieved": "0.30 to 0.30 of the speech, mean 0.30",
    }


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"overlap_ratio": 0.2}, "offset_s and overlap_ratio do not go together: give one"),
        ({"offset_s": None}, "one of offset_s, overlap_ratio, conversation is missing"),
        ({"offset_s": None, "overlap_ratio": 1.2}, r"\$\.overlap_ratio: "),
        (
            {"offset_s": None, "overlap_ratio": {"uniform": [0.4, 0.2]}},
            "overlap_ratio: the range ends before it starts",
        ),
        (
            {"offset_s": None, "overlap_ratio": 0.2, "num_speakers": 1},
            "overlap_ratio and num_speakers 1 do not go together",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named(changes, complaint):
    document = {name: value for name, value in (RECIPE | changes).items() if value is not None}
    with pytest.raises(InvalidDocumentError, match=f"^recipe.json: {complaint}"):
        parse_recipe_config(json.dumps(document), "recipe.json")
