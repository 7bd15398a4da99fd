"""Numbers that are none, infinite, huge or negative, in options and in recipes."""

import contextlib
import io
import json

import pytest
from small_datasets import RECIPE, build

from beam_jobs.build_mixtures import main
from beam_jobs.quality.measurements import Measurements, parse_measurements


def refused_option(tmp_path, option):
    """Returns the last line that argparse prints about an option."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([f"--corpus={tmp_path}", f"--output={tmp_path / 'out'}", option])
        except SystemExit as error:
            status = error.code
    assert status
    assert "Traceback" not in err.getvalue()
    assert not (tmp_path / "out").exists()
    return err.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    "number", ["nan", "inf", "-inf", "1e9999", "-1", "0", "1e-30", "1e300", ""]
)
def test_a_length_is_a_number_of_seconds_that_a_mixture_can_have(tmp_path, number):
    line = refused_option(tmp_path, f"--length={number}")
    assert "--length: " in line
    assert line.endswith("is neither min, max nor a number of seconds from 0.1 to 14400")


@pytest.mark.parametrize("option", ["--num_mixtures", "--num_shards"])
@pytest.mark.parametrize("number", ["nan", "1e9999", "-5", "0", "2.5", "1" * 30, "9" * 5000])
def test_a_number_of_things_is_a_whole_number(tmp_path, option, number):
    line = refused_option(tmp_path, f"{option}={number}")
    assert f"argument {option}: {number[:20]}" in line
    assert line.endswith("is not a whole number from 1 to 999999999")


@pytest.mark.parametrize("number", ["nan", "1e9999", "-16000", "0", "1", "1" * 30, "16000.5"])
def test_a_sample_rate_is_one_that_audio_can_have(tmp_path, number):
    line = refused_option(tmp_path, f"--sample_rate={number}")
    assert line.endswith(f"--sample_rate: {number} is not a number of Hz from 1000 to 384000")


@pytest.mark.parametrize(
    "shares", ["train=nan", "train=inf,test=-inf", "train=1e9999", "train=-1,test=2", "train=1,x=0"]
)
def test_shares_are_numbers_that_add_up(corpus, tmp_path, shares):
    refused = build(f"--splits={shares}", corpus=corpus, output=tmp_path / "out")
    assert (refused.status, refused.printed) == (1, "")
    (line,) = refused.complaints.splitlines()
    assert f"--splits={shares}: " in line
    assert not (tmp_path / "out").exists()


def test_mixtures_that_do_not_fit_into_memory_are_refused_at_once(corpus, recipe, tmp_path):
    refused = build(f"--recipe={recipe}", "--length=14000", corpus=corpus, output=tmp_path / "out")
    assert (refused.status, refused.printed) == (1, "")
    (line,) = refused.complaints.splitlines()
    assert line == (
        "build_mixtures: --length: 14000 s of 2 speakers at 8000 Hz do not fit into memory: at most"
        " 4194 s"
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e9999", "-1e400"])
@pytest.mark.parametrize("place", ["offset_s", "level", "length"])
def test_a_recipe_with_a_number_that_is_none_is_named(corpus, tmp_path, number, place):
    document = RECIPE | {place: {"gain_db": "HERE"} if place == "level" else "HERE"}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(document).replace('"HERE"', number))
    refused = build(f"--recipe={path}", corpus=corpus, output=tmp_path / "out")
    assert (refused.status, refused.printed) == (1, "")
    (line,) = refused.complaints.splitlines()
    assert line == f"build_mixtures: {path}: not JSON: {number} is not a number that can be used"


@pytest.mark.parametrize(
    "change",
    [
        {"level": {"gain_db": 1e300}},
        {"level": {"gain_db": {"uniform": [-1e300, 0]}}},
        {"offset_s": 1e300},
        {"length": 1e300},
        {"offset_s": -1},
    ],
)
def test_a_recipe_with_a_number_out_of_all_bounds_is_named(corpus, tmp_path, change):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE | change))
    refused = build(f"--recipe={path}", corpus=corpus, output=tmp_path / "out")
    assert (refused.status, refused.printed) == (1, "")
    (line,) = refused.complaints.splitlines()
    (place,) = change
    assert line.startswith(f"build_mixtures: {path}: $.{place}")


def test_a_recipe_that_is_nested_without_end_is_named(corpus, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text("[" * 100_000)
    refused = build(f"--recipe={path}", corpus=corpus, output=tmp_path / "out")
    assert refused.status == 1
    assert f"{path}: not JSON: " in refused.last_line


def no_constants(name):
    raise AssertionError(name)


def test_measurements_of_nothing_are_json():
    text = Measurements().to_json()
    json.loads(text, parse_constant=no_constants)
    assert parse_measurements(text) == Measurements()


def test_every_json_file_of_a_dataset_is_json_to_any_parser(corpus, recipe, tmp_path):
    built = build(f"--recipe={recipe}", corpus=corpus, output=tmp_path / "out")
    assert built.status == 0
    documents = [*built.folder.glob("*.json"), *built.folder.glob("recipes/*.jsonl")]
    assert len(documents) > 5
    for path in documents:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        for line in lines:
            json.loads(line, parse_constant=no_constants)
