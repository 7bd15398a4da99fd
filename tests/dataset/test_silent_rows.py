"""Datasets of mixtures of several numbers of speakers, in which silent rows fill the records."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from exports import export, stored
from small_datasets import build, write_corpus, write_recipe
from stems import noise, write_song

from beam_jobs import verify_dataset
from beam_jobs.dataset.reading import open_dataset
from beam_jobs.dataset.verification import check_record

NAMES = ("first_speaker", "second_speaker", "third_speaker")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One to three speakers in a recorded room, in two splits."""
    folder = tmp_path_factory.mktemp("meetings")
    write_corpus(folder / "corpus", num_speakers=8, num_utterances=3)
    for room in ("kitchen", "hall"):
        responses = {str(place): noise(place, num_frames=1000, channels=1) for place in range(3)}
        write_song(folder / "rooms" / room, responses)
    recipe = write_recipe(
        folder / "recipe.json", num_speakers={"choices": [1, 2, 3]}, rooms="recorded"
    )
    asked = ["--num_mixtures=32", "--num_shards=2", "--splits=train=0.5,validation=0.5"]
    arguments = [f"--recipe={recipe}", f"--rooms={folder / 'rooms'}", *asked]
    done = build(*arguments, corpus=folder / "corpus", output=folder / "dataset")
    assert done.status == 0, done.complaints
    return done


@pytest.fixture
def mixtures(built):
    return stored(built.folder)


def num_speakers(recipes):
    return Counter(len(recipe.sources) for recipe in recipes)


def test_each_number_of_speakers_has_its_share_and_recipes_have_real_sources_alone(built):
    for split in ("train", "validation"):
        counts = num_speakers(built.recipes(split))
        assert counts.keys() == {1, 2, 3}
        assert max(counts.values()) - min(counts.values()) <= 2
    assert num_speakers(built.recipes()).total() == 32


def test_rows_after_the_sources_are_silent(built, mixtures):
    for features in built.examples():
        mixture = mixtures[features["id"][0].decode()]
        recipe, num_own = mixture.recipe, len(mixture.recipe.sources)
        own = [source.speaker.encode() for source in recipe.sources]
        assert features["speakers"] == [*own, *[b""] * (3 - num_own)]
        assert mixture.sources.shape == (3, *mixture.mixture.shape)
        assert all(source.any() for source in mixture.own_sources)
        assert not mixture.sources[num_own:].any()
        np.testing.assert_array_equal(mixture.sources.sum(axis=0), mixture.mixture)
        assert len(features["dry_sources"][0]) == len(features["sources"][0])
        for name in ("offsets_s", "gains_db"):
            assert features[name][num_own:] == [0.0] * (3 - num_own)


def test_the_dataset_says_that_it_has_silent_rows_and_is_sound(built):
    described = open_dataset(str(built.folder))
    assert (described.num_sources, described.silent_rows) == (3, True)
    assert "up to 3 sources" in (built.folder / "README.md").read_text("utf-8")
    assert "up to 3 in a mixture" in (built.folder / "report.html").read_text("utf-8")
    assert verify_dataset.main([f"--dataset={built.folder}"]) == 0


def test_sound_in_a_silent_row_is_damage(built):
    described = open_dataset(str(built.folder))
    features = next(one for one in built.examples() if one["speakers"][1] == b"")
    assert list(check_record(features, described)) == []
    sources = np.frombuffer(features["sources"][0], np.int16).copy()
    sources[-1] = 1
    noisy = features | {"sources": [sources.tobytes()]}
    assert list(check_record(noisy, described)) == [
        "sound in a row for which its recipe has no source"
    ]


def test_the_report_has_the_shares_that_were_asked_for_beside_those_achieved(built):
    shares = next(one for one in built.quality["asked"] if one["title"] == "Speakers in a mixture")
    assert shares["asked"] == "1 in 33.3%, 2 in 33.3%, 3 in 33.3%"
    counts = num_speakers(built.recipes())
    assert shares["achieved"] == ", ".join(f"{n} in {counts[n] / 32:.1%}" for n in (1, 2, 3))
    histogram = built.quality["histograms"]["num_sources"]
    assert histogram["counts"] == [counts[1], counts[2], counts[3]]


def test_its_recipes_give_the_same_bytes(built, tmp_path):
    folder = built.folder.parent
    arguments = [f"--recipes={built.folder}/recipes/*.jsonl", f"--rooms={folder / 'rooms'}"]
    again = build(
        *arguments, "--num_shards=2", corpus=folder / "corpus", output=tmp_path / "dataset"
    )
    assert again.status == 0, again.complaints
    assert again.digests == built.digests
    assert open_dataset(str(again.folder)).silent_rows


@pytest.mark.parametrize("numbers", [{1, 2}, {2}, {3}])
def test_a_part_of_its_recipes_gives_the_same_records(built, tmp_path, numbers):
    some = [one for one in built.recipes("train") if len(one.sources) in numbers]
    given = tmp_path / "some.jsonl"
    given.write_text("".join(f"{one.to_json()}\n" for one in some), "utf-8")
    folder = built.folder.parent
    arguments = [f"--recipes={given}", f"--rooms={folder / 'rooms'}", "--num_shards=1"]
    again = build(*arguments, corpus=folder / "corpus", output=tmp_path / "dataset")
    assert again.status == 0, again.complaints
    by_id = {one["id"][0]: one for one in built.examples("train")}
    assert again.examples() == [by_id[one.id.encode()] for one in some]
    described = open_dataset(str(again.folder))
    assert (described.num_sources, described.silent_rows) == (3, numbers != {3})
    assert verify_dataset.main([f"--dataset={again.folder}"]) == 0


def test_an_export_mixture_by_mixture_has_no_files_of_silence(built, mixtures, tmp_path):
    assert export(built.folder, tmp_path / "export", "lhotse", "--audio_format=wav") == 0
    for mixture in mixtures.values():
        folder = tmp_path / "export" / mixture.recipe.split / mixture.recipe.id
        own = NAMES[: len(mixture.recipe.sources)]
        assert {path.stem for path in folder.glob("*.wav")} == {"mixture", *own}
    for path in (tmp_path / "export").glob("*_cuts_*.jsonl"):
        for cut in map(json.loads, path.read_text("utf-8").splitlines()):
            speakers = {one["speaker"] for one in cut["supervisions"]}
            assert len(cut["custom"]) == len(speakers)
            assert "" not in speakers


def test_turns_are_those_of_real_speakers(built, mixtures, tmp_path):
    assert export(built.folder, tmp_path / "export", "nemo") == 0
    for split in ("train", "validation"):
        lines = (tmp_path / "export" / f"{split}_mixtures.json").read_text("utf-8").splitlines()
        for line in map(json.loads, lines):
            turns = Path(line["rttm_filepath"]).read_text("utf-8").splitlines()
            mixture = mixtures[Path(line["audio_filepath"]).stem]
            own = {source.speaker for source in mixture.recipe.sources}
            assert {turn.split()[7] for turn in turns} == own
            assert line["num_speakers"] == len(own)


@pytest.mark.parametrize(
    ("layout", "table", "names"),
    [
        ("spleeter", "train.csv", [f"{name}_path" for name in NAMES]),
        (
            "librimix",
            "Libri3Mix/wav8k/min/metadata/mixture_train-360_mix_clean.csv",
            [f"source_{number}_path" for number in (1, 2, 3)],
        ),
    ],
)
def test_an_export_that_is_read_column_by_column_has_files_of_silence(
    built, mixtures, tmp_path, layout, table, names
):
    assert export(built.folder, tmp_path / "export", layout) == 0
    with (tmp_path / "export" / table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(built.recipes("train"))
    for row in rows:
        mixture = mixtures[row.get("mixture_ID") or row["mix_path"].split("/")[1]]
        for name, source in zip(names, mixture.sources, strict=True):
            found = soundfile.read(tmp_path / "export" / row[name], dtype="int16")[0]
            np.testing.assert_array_equal(found, source[:, 0])
        speakers = [
            value for name, value in row.items() if name.endswith(("_id", "_speaker")) and value
        ]
        own = [source.speaker for source in mixture.recipe.sources]
        assert speakers == [*own, *["silent"] * (3 - len(own))]


def test_the_examples_of_an_export_to_webdataset_have_all_the_same_files(built, tmp_path):
    assert export(built.folder, tmp_path / "export", "webdataset") == 0
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, (tmp_path / "export").glob("*.tar")))
    examples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len(examples) == 32
    for example in examples:
        assert {f"{name}.flac" for name in ("mixture", *NAMES)} <= set(example)
        about = json.loads(example["json"])
        assert len(about["speakers"]) == len(about["gains_db"]) == len(about["offsets_s"])
        assert "" not in about["speakers"]
