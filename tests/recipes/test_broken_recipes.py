"""Whatever is wrong with one line of given recipes is that line's dead letter."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from spoken_corpora import RATE, speak
from stems import noise, write_csv, write_song

from beam_jobs import build_mixtures
from beam_jobs.corpora.layout import Corpus, parse_corpora
from beam_jobs.recipes.given_recipes import GivenRecipes, find_given_recipes, find_named_files
from beam_jobs.recipes.recipe_format import RecipeContext
from beam_jobs.runtime.dead_letters import Rejected
from schemas.errors import UserError
from schemas.recipe import Recipe, Source

HEADER = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain"


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    for speaker in (61, 62):
        speak(tmp_path / f"LibriSpeech/dev-clean/{speaker}/7/{speaker}-7-0000.flac", seed=speaker)
    return tmp_path / "LibriSpeech"


def row(
    name: str = "m", *, gains: tuple[str, str] = ("0.5", "0.7"), speakers: str = "61 62"
) -> str:
    paths = [f"dev-clean/{one}/7/{one}-7-0000.flac" for one in speakers.split()]
    return f"{name},{paths[0]},{gains[0]},{paths[1]},{gains[1]}"


def give(corpus: Path, *patterns: Path | str, **context: Any) -> GivenRecipes:
    (parsed,) = parse_corpora([str(corpus)])
    asked = RecipeContext({parsed.name: parsed}, None, None, 0, context.get("length", ""))
    return find_given_recipes(list(map(str, patterns)), asked, skip_missing=False)


def rejected_of(given: GivenRecipes) -> dict[str, str]:
    """Returns the reason for each line that is rejected."""
    found = [one for file in given.files for _, one in find_named_files(file, given)]
    return {one.path: one.reason for one in found if isinstance(one, Rejected)}


def ids_of(given: GivenRecipes) -> list[str]:
    found = [one for file in given.files for one in given.read(file)]
    return [one.id for one in found if not isinstance(one, Rejected)]


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join([*lines, ""]), encoding)
    return path


class TestLibriMix:
    @pytest.mark.parametrize(
        ("gain", "reason"),
        [
            *((one, "a gain that is not a positive number") for one in ("nan", "inf", "1_0", "")),
            *(
                (one, "a gain that is not a positive number")
                for one in ("0", "-1", "\u0661", "1e400")
            ),
            ("1e-30", "a gain of -600 dB"),
            ("1e30", "a gain of 600 dB"),
        ],
    )
    def test_a_gain_that_is_none_is_said_before_anything_is_rendered(
        self, speech: Path, tmp_path: Path, gain: str, reason: str
    ) -> None:
        path = write(tmp_path / "m.csv", HEADER, row("a"), row("b", gains=("0.5", gain)))
        rejected = rejected_of(give(speech, path))
        assert list(rejected) == [f"{path}:3"]
        assert rejected[f"{path}:3"].startswith(reason)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_table_from_any_system_is_read(
        self, speech: Path, tmp_path: Path, encoding: str
    ) -> None:
        path = write(tmp_path / "m.csv", HEADER, row("a"), encoding=encoding)
        given = give(speech, path)
        assert ids_of(given) == ["a"]
        assert not rejected_of(given)

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('"' + row("b"), "not CSV: unexpected end of data"),
            ('"b"c' + row(""), "not CSV"),
            (row("b") + "\0", "NUL characters"),
            (row("b") + "x" * (17 << 20), "a line of 17,8"),
            (row("b" + "x" * 200_000), "not CSV: field larger than field limit"),
            (row(""), "no id"),
            (row("b").replace("dev-clean/61/7/61-7-0000.flac", ""), "no 'source_1_path'"),
        ],
    )
    def test_a_broken_line_is_named_and_the_rest_goes_on(
        self, speech: Path, tmp_path: Path, line: str, reason: str
    ) -> None:
        path = write(tmp_path / "m.csv", HEADER, row("a"), line, row("c"))
        given = give(speech, path)
        rejected = rejected_of(given)
        assert list(rejected) == [f"{path}:3"]
        assert rejected[f"{path}:3"].startswith(reason)
        assert {"a", "c"} <= set(ids_of(given))

    @pytest.mark.parametrize(
        ("header", "reason"),
        [
            (HEADER.replace("source_2_gain", "gain"), "without source_2_gain in its header"),
            (HEADER.replace("source_2_gain", "source_1_gain"), "is in the header 2 times"),
        ],
    )
    def test_a_header_without_a_column_is_said(
        self, speech: Path, tmp_path: Path, header: str, reason: str
    ) -> None:
        path = write(tmp_path / "m.csv", header, row("a"))
        with pytest.raises(UserError, match=reason) as raised:
            give(speech, path)
        assert str(path) in str(raised.value)

    def test_two_files_of_one_name_are_not_mixed_up(
        self, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = speech / "train-clean-100/61/7/61-7-0000.flac"
        speak(other, seed=99)
        swapped = row("b").replace("dev-clean/61", "train-clean-100/61")
        path = write(tmp_path / "m.csv", HEADER, row("a"), swapped)
        output = tmp_path / "dataset"
        arguments = [f"--corpus={speech}", f"--recipes={path}", f"--output={output}"]
        assert build_mixtures.main(arguments) == 1
        assert "duplicate utterance id: '61-7-0000'" in capsys.readouterr().err


class TestIds:
    def test_a_mixture_in_two_files_is_refused(self, speech: Path, tmp_path: Path) -> None:
        first = write(tmp_path / "1.csv", HEADER, row("a"), row("b"))
        second = write(tmp_path / "2.csv", HEADER, row("c"), row("b"), row("a"))
        given = give(speech, tmp_path / "*.csv")
        assert rejected_of(given) == {
            f"{second}:3": f"duplicate mixture id 'b': {first}:3 has it",
            f"{second}:4": f"duplicate mixture id 'a': {first}:2 has it",
        }
        assert ids_of(given) == ["a", "b", "c"]
        assert [file.counts for file in given.files] == [{"validation": 2}, {"validation": 1}]
        assert [one.id for one in given.read_range("validation", 1, 3)] == ["b", "c"]

    def test_a_file_that_is_named_twice_is_one_file(self, speech: Path, tmp_path: Path) -> None:
        path = write(tmp_path / "1.csv", HEADER, row("a"))
        (tmp_path / "link.csv").symlink_to(path)
        given = give(speech, path, tmp_path / "*.csv", f"{tmp_path}/../{tmp_path.name}/1.csv")
        assert ids_of(given) == ["a"]
        assert not rejected_of(given)

    def test_a_copy_of_a_whole_file_is_refused_at_once(
        self, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beam_jobs.recipes.given_recipes._MAX_DUPLICATES", 5)
        path = write(tmp_path / "1.csv", HEADER, *(row(f"m{number}") for number in range(9)))
        shutil.copy(path, tmp_path / "2.csv")
        with pytest.raises(UserError, match="leave out one of the files"):
            give(speech, tmp_path / "*.csv")

    def test_songs_with_one_name_are_refused(self, tmp_path: Path) -> None:
        corpus = tmp_path / "stems"
        for song in ("a/b", "a_b"):
            write_song(corpus / song, {"vocals": noise(1), "drums": noise(2)})
        path = write_csv(corpus / "train.csv", ["a/b", "a_b"])
        assert rejected_of(give(corpus, path)) == {
            f"{path}:3": f"duplicate mixture id 'a_b_mix': {path}:2 has it"
        }


class TestPatterns:
    @pytest.mark.parametrize(
        "pattern", ["r*/m?.csv", "run [1]/m1.csv", "run [1]/*.csv", "**/m1.csv", "run [1]/m[1].csv"]
    )
    def test_a_file_is_found_wherever_the_pattern_has_its_stars(
        self, speech: Path, tmp_path: Path, pattern: str
    ) -> None:
        (tmp_path / "run [1]").mkdir()
        path = write(tmp_path / "run [1]/m1.csv", HEADER, row("a"))
        given = give(speech, tmp_path / pattern)
        assert [file.path for file in given.files] == [str(path)]


class TestSpleeter:
    @pytest.mark.parametrize(
        ("duration", "reason"),
        [
            *((one, "'duration' is not a number of seconds") for one in ("nan", "inf", "1_0", "")),
            *((one, "'duration' is not a number of seconds") for one in ("\u0661", "1e400")),
            ("-1", "a duration of -1 s"),
            ("0.0", "a duration of 0 s"),
            ("1e300", "a duration of 1e+300 s"),
        ],
    )
    def test_a_duration_that_is_none_is_named(
        self, tmp_path: Path, duration: str, reason: str
    ) -> None:
        corpus = tmp_path / "stems"
        for song in ("good", "bad"):
            write_song(corpus / song, {"vocals": noise(1), "drums": noise(2)})
        path = write_csv(corpus / "train.csv", ["good"])
        with path.open("a", newline="") as file:
            file.write(f"bad/mix.wav,bad/vocals.wav,bad/drums.wav,{duration}\r\n")
        rejected = rejected_of(give(corpus, path, length=1.0))
        assert list(rejected) == [f"{path}:3"]
        assert rejected[f"{path}:3"].startswith(reason)


@pytest.fixture
def recipe(speech: Path) -> Callable[[str], dict[str, Any]]:
    (corpus,) = parse_corpora([str(speech)])

    def make(name: str) -> dict[str, Any]:
        return json.loads(_recipe(name, corpus).to_json())  # type: ignore[no-any-return]

    return make


def _recipe(name: str, corpus: Corpus) -> Recipe:
    sources = tuple(
        Source(
            utterance=f"{speaker}-7-0000",
            corpus=corpus.name,
            path=f"dev-clean/{speaker}/7/{speaker}-7-0000.flac",
            speaker=str(speaker),
            gender="",
            start=0,
            stop=RATE,
            file_sample_rate=RATE,
            offset_s=0.0,
            level_kind="gain_db",
            level=0.0,
        )
        for speaker in (61, 62)
    )
    return Recipe(name, "train", RATE, 1.0, "average", sources)


class TestOurOwn:
    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("duration_s", float("nan"), "not JSON: NaN is not a number"),
            ("duration_s", float("inf"), "not JSON: Infinity is not a number"),
            ("duration_s", 1e9, "a mixture of 1e+09 s"),
            ("id", "", "no id"),
            ("id", "a\ud800", "'id' has half a character"),
            ("sources.level", float("-inf"), "not JSON: -Infinity is not a number"),
            ("sources.level", -1e5, "a gain_db of -100000"),
            ("sources.offset_s", 3, "a source that starts at 3 s of 1 s"),
            ("sources.stop", 8000.0, "stop is not a whole number: 8000.0"),
            ("sample_rate", 8000.0, "sample_rate is not a whole number"),
            ("num_rows", 2, "num_rows 2, where 2 have a source"),
            ("num_rows", 11, "recipe: $.num_rows"),
            ("num_rows", 3.0, "num_rows is not a whole number: 3.0"),
            ("sources.speed", 1e-9, "a speed of 1e-09"),
            ("sources.channel", -1, "recipe: $.sources[0].channel"),
            ("sources.path", "a\0b", "a NUL character"),
        ],
    )
    def test_a_value_that_nobody_means_is_named(
        self,
        speech: Path,
        tmp_path: Path,
        recipe: Callable[[str], dict[str, Any]],
        key: str,
        value: object,
        reason: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        bad = recipe("bad")
        *inside, last = key.split(".")
        (bad["sources"][0] if inside else bad)[last] = value
        path = write(tmp_path / "m.jsonl", *map(json.dumps, (recipe("a"), bad, recipe("c"))))
        output = tmp_path / "dataset"
        arguments = [f"--corpus={speech}", f"--recipes={path}", f"--output={output}"]
        arguments.append("--direct_num_workers=1")
        assert build_mixtures.main([*arguments, "--skip_missing_recipes"]) == 3
        (line,) = (output / "rejected.jsonl").read_text().splitlines()
        rejected = json.loads(line)
        assert f"{path}:2" in f"{rejected['path']} {rejected['reason']}"
        assert reason in rejected["reason"]
        assert "Traceback" not in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("[" * 100_000, "nested too deeply"),
            ('{"sources": 1e400}', "not JSON: 1e400 is not a number"),
            ('{"id": "x\0"}', "NUL characters"),
        ],
    )
    def test_a_line_that_is_no_recipe_is_named(
        self,
        speech: Path,
        tmp_path: Path,
        recipe: Callable[[str], dict[str, Any]],
        line: str,
        reason: str,
    ) -> None:
        path = write(tmp_path / "m.jsonl", json.dumps(recipe("a")), line, encoding="utf-8-sig")
        given = give(speech, path)
        rejected = rejected_of(given)
        assert list(rejected) == [f"{path}:2"]
        assert reason in rejected[f"{path}:2"]
        assert ids_of(given) == ["a"]

    def test_a_channel_is_rendered_again(
        self, speech: Path, tmp_path: Path, recipe: Callable[[str], dict[str, Any]]
    ) -> None:
        samples = np.random.default_rng(7).normal(0, 0.1, (RATE, 2))
        stereo = speech / "dev-clean/61/7/61-7-0000.flac"
        soundfile.write(stereo, samples, RATE)
        document = recipe("a")
        document["sources"][0]["channel"] = 1
        path = write(tmp_path / "m.jsonl", json.dumps(document))
        output = tmp_path / "dataset"
        arguments = [f"--corpus={speech}", f"--recipes={path}", f"--output={output}"]
        assert build_mixtures.main([*arguments, "--direct_num_workers=1"]) == 0
        (line,) = (output / "recipes/train-00000-of-00001.jsonl").read_text().splitlines()
        assert json.loads(line)["sources"] == document["sources"]
        document["sources"][0]["channel"] = 2
        write(path, json.dumps(document))
        assert build_mixtures.main([*arguments[:2], f"--output={tmp_path / 'none'}"]) == 1
