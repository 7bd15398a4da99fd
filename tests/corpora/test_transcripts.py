"""What is said in an utterance, and in which language, where its corpus says so."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_datasets import RECIPE, build, shard_digests, write_recipe
from spoken_corpora import RATE, catalogue, speak, write_lines

from beam_jobs.corpora.catalogue import SCHEMA, Catalogue, open_catalogue
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import PlanOptions
from beam_jobs.recipes.splits import parse_shares
from schemas.recipe import Recipe, parse_recipe
from schemas.recipe_config import parse_recipe_config

Said = dict[str, tuple[str | None, str | None]]


def said_in(corpus: Path, **options: str) -> tuple[Said, list[tuple[str, str]]]:
    """Returns text and language of each utterance, and what was rejected: its name and why."""
    utterances, rejected = catalogue(corpus, **options)
    return (
        {name: (one.text, one.language) for name, one in utterances.items()},
        [(Path(one.path).name, one.reason) for one in rejected],
    )


class TestLibriSpeech:
    def test_a_chapter_has_a_list(self, tmp_path: Path) -> None:
        for name in ("19/198/19-198-0000", "19/198/19-198-0001", "26/495/26-495-0000"):
            speak(tmp_path / f"LibriSpeech/dev-clean/{name}.flac")
        write_lines(
            tmp_path / "LibriSpeech/dev-clean/19/198/19-198.trans.txt",
            ["19-198-0000 NORTHANGER  ABBEY", "19-198-0002 OF A FILE THAT IS GONE"],
        )
        expected = {
            "19-198-0000": ("NORTHANGER ABBEY", None),
            "19-198-0001": (None, None),
            "26-495-0000": (None, None),
        }
        assert said_in(tmp_path / "LibriSpeech") == (expected, [])
        assert said_in(tmp_path / "LibriSpeech/dev-clean") == (expected, [])

    def test_a_broken_line_costs_its_own_transcript_only(self, tmp_path: Path) -> None:
        folder = tmp_path / "train-clean-100/19/198"
        for number in range(5):
            speak(folder / f"19-198-{number:04}.flac")
        (folder / "19-198.trans.txt").write_bytes(
            b"19-198-0000 GOOD\n19-198-0001 CAF\xc9\n19-198-0002\n19-198-0003 A\0B\n"
            b"19-198-0004 ONE\n\n19-198-0004 OTHER\n19-198-0000 GOOD\n"
        )
        texts, rejected = said_in(tmp_path / "train-clean-100")
        assert [text for text, _ in texts.values()] == ["GOOD", None, None, None, None]
        assert rejected == [
            ("19-198.trans.txt:2", "a transcript that is not UTF-8: save the file as UTF-8"),
            ("19-198.trans.txt:4", "NUL characters: not text"),
            ("19-198.trans.txt:7", "another transcript of '19-198-0004'"),
        ]

    @pytest.mark.parametrize("content", ["19-198-0000 X".encode("utf-32"), None])
    def test_a_list_that_is_no_text_is_named(self, tmp_path: Path, content: bytes | None) -> None:
        folder = tmp_path / "train-clean-100/19/198"
        speak(folder / "19-198-0000.flac")
        path = folder / "19-198.trans.txt"
        path.mkdir() if content is None else path.write_bytes(content)
        texts, ((name, _),) = said_in(tmp_path / "train-clean-100")
        assert (texts, name) == ({"19-198-0000": (None, None)}, "19-198.trans.txt")

    def test_libritts_has_a_file_for_each_utterance(self, tmp_path: Path) -> None:
        folder = tmp_path / "LibriTTS/dev-clean/84/121123"
        for name in ("84_121123_000007_000001", "84_121123_000008_000000"):
            speak(folder / f"{name}.wav")
        (folder / "84_121123_000007_000001.normalized.txt").write_text("Maximilian.\n")
        texts, rejected = said_in(tmp_path / "LibriTTS")
        assert texts == {
            "84_121123_000007_000001": ("Maximilian.", None),
            "84_121123_000008_000000": (None, None),
        }
        assert not rejected


@pytest.mark.parametrize("part", ["", "wav48_silence_trimmed"])
def test_vctk_has_a_file_for_each_utterance_beside_the_audio(tmp_path: Path, part: str) -> None:
    for name in ("p225/p225_001_mic1", "p225/p225_002_mic1", "p226/p226_001_mic2"):
        speak(tmp_path / f"VCTK/wav48_silence_trimmed/{name}.flac")
    texts = tmp_path / "VCTK/txt/p225"
    texts.mkdir(parents=True)
    (texts / "p225_001.txt").write_bytes(b"Please call Stella.\r\n")
    (texts / "p225_002.txt").write_bytes(b"Ask her \xff\n")
    assert said_in(tmp_path / "VCTK" / part, layout="vctk") == (
        {"p225_001": ("Please call Stella.", None), "p225_002": (None, None)},
        [("p225_002.txt", "a transcript that is not UTF-8: save the file as UTF-8")],
    )


class TestCommonVoice:
    @pytest.mark.parametrize(
        ("folder", "columns", "language"),
        [
            ("cv-corpus/fr", "", "fr"),
            ("cv-corpus/fr", "\tlocale", "sv-SE"),
            ("cv-corpus/zh-CN", "", "zh-CN"),
            ("my_clips", "", None),
        ],
    )
    def test_a_list_has_the_sentences_and_the_folder_the_language(
        self, tmp_path: Path, folder: str, columns: str, language: str | None
    ) -> None:
        speak(tmp_path / folder / "clips/a.mp3")
        locale = "\tsv-SE" if columns else ""
        write_lines(
            tmp_path / folder / "train.tsv",
            [f"client_id\tpath\tsentence{columns}", f'ada\ta.mp3\tShe said "n\u00f6"{locale}'],
        )
        assert said_in(tmp_path / folder) == ({"a": ('She said "n\u00f6"', language)}, [])

    def test_a_sentence_in_latin_1_is_named_and_its_clip_is_kept(self, tmp_path: Path) -> None:
        for name in "ab":
            speak(tmp_path / f"clips/{name}.mp3")
        (tmp_path / "train.tsv").write_bytes(
            b"client_id\tpath\tsentence\nada\ta.mp3\tCaf\xe9\nbob\tb.mp3\tTea\n"
        )
        assert said_in(tmp_path) == (
            {"a": (None, None), "b": ("Tea", None)},
            [
                (
                    "train.tsv:2",
                    "its transcript and language are left out: not UTF-8: save the file as UTF-8",
                )
            ],
        )


def test_kaldi_has_a_table_of_each(tmp_path: Path) -> None:
    speak(tmp_path / "a.wav", 10)
    tables = {
        "wav.scp": ["rec1 a.wav"],
        "segments": ["u1 rec1 0 2", "u2 rec1 2 4", "u3 rec1 4 6"],
        "utt2spk": ["u1 ada", "u2 bob", "u3 cyd"],
        "text": ["u1 hello there", "u3 one", "u3 two"],
        "utt2lang": ["u1 english", "u2"],
    }
    for name, lines in tables.items():
        write_lines(tmp_path / name, lines)
    assert said_in(tmp_path) == (
        {"u1": ("hello there", "english"), "u2": (None, None), "u3": (None, None)},
        [("utt2lang:2", "1 fields where 2 belong"), ("text:3", "another transcript of 'u3'")],
    )


NEMO = {"audio_filepath": "a.wav", "speaker": "ada", "offset": 0, "duration": 1}


@pytest.mark.parametrize(
    ("fields", "said", "reason"),
    [
        ({"text": "hi\n there\u2028", "lang": "en"}, ("hi there", "en"), None),
        ({"text": "-", "lang": None}, (None, None), None),
        ({"text": 42}, ("42", None), None),
        ({"text": ["a"]}, (None, None), "'text' is not text: ['a']"),
        ({"text": "a\ud800"}, (None, None), "'text' has half a character in it: 'a\\ud800'"),
        ({"text": "a\0"}, (None, None), "'text' has a NUL character in it: 'a\\x00'"),
        ({"text": "a", "lang": {}}, (None, None), "'language' is not text: {}"),
    ],
)
def test_a_manifest_line_has_both(
    tmp_path: Path, fields: dict[str, object], said: tuple[str, str], reason: str | None
) -> None:
    speak(tmp_path / "a.wav")
    path = write_lines(tmp_path / "l.json", [NEMO | fields])
    rejected = (
        [("l.json:1", f"its transcript and language are left out: {reason}")] if reason else []
    )
    assert said_in(path) == ({"a-0.00-1.00": said}, rejected)


def test_a_supervision_of_lhotse_has_both(tmp_path: Path) -> None:
    speak(tmp_path / "a.wav", 4)
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    supervision = {"id": "s1", "start": 0, "duration": 2, "channel": 0, "speaker": "ada"}
    said = {"text": "Bonjour", "language": "French"}
    cut = {
        "start": 0,
        "supervisions": [supervision | said, supervision | {"id": "s2", "text": None}],
        "recording": {"id": "r", "sources": [source]},
    }
    assert said_in(write_lines(tmp_path / "cuts.jsonl", [cut])) == (
        {"s1": ("Bonjour", "French"), "s2": (None, None)},
        [],
    )


NEMO_SPEECH = [
    {
        "audio_filepath": f"{speaker}.wav",
        "speaker": speaker,
        "offset": offset,
        "duration": 1,
        "text": f"{speaker} at {offset}",
        "lang": "en",
    }
    for speaker in "abcd"
    for offset in (0, 2)
]


def draw_recipes(corpus: Path, **changes: object) -> list[Recipe]:
    """Draws the recipes of a dataset of all utterances of a corpus."""
    utterances, _ = catalogue(corpus)
    rows = [dataclasses.asdict(one) for one in utterances.values()]
    options = PlanOptions(
        config=parse_recipe_config(json.dumps(RECIPE | changes), "recipe"),
        seed=0,
        shares=parse_shares("train=1"),
        num_mixtures=0,
        num_shards=1,
    )
    plan = DrawnPlan(Catalogue(pa.Table.from_pylist(rows, schema=SCHEMA)), options)
    return [draft.recipe for shard in plan.shards for draft in plan.drafts(shard)]


class TestRecipes:
    @pytest.fixture
    def manifest(self, tmp_path: Path) -> Path:
        for speaker in "abcd":
            speak(tmp_path / f"{speaker}.wav", 4, seed=ord(speaker))
        return write_lines(tmp_path / "speech.json", NEMO_SPEECH)

    def test_a_whole_utterance_has_its_text(self, manifest: Path) -> None:
        recipes = draw_recipes(manifest)
        for source in (one for recipe in recipes for one in recipe.sources):
            assert source.text == f"{source.speaker} at {source.start // RATE}"
            assert source.language == "en"
            assert parse_recipe(recipes[0].to_json(), "x") == recipes[0]

    def test_a_part_of_an_utterance_has_none(self, manifest: Path) -> None:
        for recipe in draw_recipes(manifest, length=0.5):
            for source in recipe.sources:
                assert source.stop - source.start < RATE
                assert (source.text, source.language) == (None, "en")

    def test_without_transcripts_all_else_is_the_same_and_nothing_is_said_of_them(
        self, manifest: Path
    ) -> None:
        with_texts = draw_recipes(manifest)
        rows = [{**row, "text": None, "lang": None} for row in NEMO_SPEECH]
        without = draw_recipes(write_lines(manifest, rows))
        for recipe, plain in zip(with_texts, without, strict=True):
            sources = (
                dataclasses.replace(source, text=None, language=None) for source in recipe.sources
            )
            assert dataclasses.replace(recipe, sources=tuple(sources)) == plain
            assert not {"text", "language"} & set(json.loads(plain.to_json())["sources"][0])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for speaker in "abcd":
        speak(folder / f"{speaker}.wav", 4, seed=ord(speaker))
    write_recipe(folder / "recipe.json")
    return write_lines(folder / "speech.json", NEMO_SPEECH)


@pytest.fixture(scope="module")
def options(corpus: Path) -> list[str]:
    return ["--splits=train=1", "--num_shards=1", f"--recipe={corpus.parent}/recipe.json"]


@pytest.fixture(scope="module")
def dataset(corpus: Path, options: list[str]) -> Path:
    built = build(*options, corpus=corpus, output=corpus.parent / "dataset")
    assert built.status == 0, built.complaints
    return built.folder


class TestDatasets:
    def test_the_catalogue_has_no_room_for_what_no_utterance_has(
        self, corpus: Path, options: list[str], dataset: Path, tmp_path: Path
    ) -> None:
        rows = [{**row, "text": None} for row in NEMO_SPEECH]
        untold = write_lines(corpus.parent / "untold.json", rows)
        folder = build(*options, corpus=untold, output=tmp_path / "untold").folder
        columns = []
        for path in (dataset / "catalogue.arrow", folder / "catalogue.arrow"):
            (one,) = open_catalogue(str(path)).utterances(np.array([0], np.int32))
            assert one.language == "en"
            with path.open("rb") as file:
                columns.append(set(pa.ipc.open_file(file).schema.names))
        assert columns[0] - columns[1] == {"text"}

    def test_its_recipes_give_the_same_bytes(
        self, corpus: Path, dataset: Path, tmp_path: Path
    ) -> None:
        recipes = [f"--recipes={dataset}/recipes/*.jsonl", "--num_shards=1"]
        again = build(*recipes, corpus=corpus, output=tmp_path / "dataset")
        assert again.digests == shard_digests(dataset)
        assert again.recipes()[0].sources[0].text

    def test_a_folder_that_was_begun_without_them_is_refused(
        self, corpus: Path, options: list[str], dataset: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(dataset, tmp_path / "dataset")
        job = json.loads((folder / "job.json").read_text())
        del job["catalogue"]
        (folder / "job.json").write_text(json.dumps(job))
        refused = build(*options, corpus=corpus, output=folder)
        assert refused.status == 1
        (line,) = refused.complaints.splitlines()
        assert "catalogued by another version of this program, catalogue 2 there and 3" in line
        assert "--overwrite" in line
