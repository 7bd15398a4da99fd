import contextlib
import fcntl
import json
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import sys
import termios
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from optional import needs_tensorflow
from small_datasets import (
    SAMPLE_RATE,
    build,
    build_elsewhere,
    command_line,
    kill_when,
    leftovers,
    shard_digests,
    start,
    voice,
    write_corpus,
    write_recipe,
)

from schemas.dataset import dataset_name, parse_dataset

ASKED = ("--splits=train=0.5,test=0.5", "--num_mixtures=60", "--num_shards=3")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A corpus, and a recipe for it."""
    folder = tmp_path_factory.mktemp("speech")
    return write_corpus(folder / "corpus"), write_recipe(folder / "recipe.json")


@pytest.fixture(scope="module")
def built(speech, tmp_path_factory):
    """A dataset, made in this process by one worker."""
    corpus, recipe = speech
    return build(
        f"--recipe={recipe}",
        *ASKED,
        "--direct_running_mode=in_memory",
        "--direct_num_workers=1",
        corpus=corpus,
        output=tmp_path_factory.mktemp("built") / "mixtures",
    )


@pytest.fixture
def build_again(speech, tmp_path):
    """Builds the same dataset in another place, or in another way."""
    corpus, recipe = speech

    def run(*arguments, builder=build, **options):
        places = {"corpus": corpus, "output": tmp_path / "again"}
        return builder(f"--recipe={recipe}", *ASKED, *arguments, **places | options)

    return run


def test_the_last_line_says_what_is_there(built):
    assert built.status == 0
    assert re.fullmatch(
        rf"done: 60 mixtures, 0\.\d\d h, 6 shards in {built.folder}; look at"
        rf" {built.folder}/report\.html",
        built.last_line,
    )


def test_the_folder_holds_the_dataset_and_nothing_else(built):
    names = {
        *("COMPLETED", "README.md", "catalogue.arrow", "croissant.json", "dataset.json"),
        *(
            "dataset_info.json",
            "features.json",
            "job.json",
            "quality.json",
            "recipes",
            "rejected.jsonl",
            "report.html",
        ),
        *(f"mixtures-train.tfrecord-0000{number}-of-00003" for number in range(3)),
        *(f"mixtures-test.tfrecord-0000{number}-of-00003" for number in range(3)),
    }
    assert {path.name for path in built.folder.iterdir()} == names


def test_every_check_of_the_report_is_passed(built):
    assert set(built.quality["checks"].values()) == {0}
    assert (built.folder / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_every_record_is_the_sum_of_its_sources(built):
    examples = built.examples()
    assert len(examples) == 60
    for features in examples:
        mixture = np.frombuffer(features["mixture"][0], "<i2")
        sources = np.frombuffer(features["sources"][0], "<i2").reshape(2, -1)
        np.testing.assert_array_equal(mixture, sources.sum(axis=0, dtype=np.int64))


def test_a_source_sounds_as_its_recipe_says(built, speech):
    corpus, _ = speech
    for features, recipe in zip(built.examples("test"), built.recipes("test"), strict=True):
        stored = np.frombuffer(features["sources"][0], "<i2").reshape(2, -1) / 32768
        for index, source in enumerate(recipe.sources):
            sound, _ = soundfile.read(corpus / source.path)
            gain = 10 ** ((source.level + recipe.common_gain_db) / 20)
            start = round(source.offset_s * SAMPLE_RATE)
            expected = np.zeros(recipe.num_samples)
            expected[start : start + len(sound)] = sound * gain
            np.testing.assert_allclose(stored[index], expected, atol=1 / 32768)


def test_every_utterance_is_used_equally_often_give_or_take_one(built):
    for split, uses in built.quality["use"].items():
        used = Counter(
            source.utterance for recipe in built.recipes(split) for source in recipe.sources
        )
        assert len(used) == 12
        assert max(used.values()) - min(used.values()) <= 1
        assert uses["utterances"]["max"] == max(used.values())


def test_the_report_shows_how_often_an_utterance_is_used_in_its_shard(built):
    for split, uses in built.quality["use"].items():
        counts = Counter()
        for path in (built.folder / "recipes").glob(f"{split}-*.jsonl"):
            used = Counter(
                source["utterance"]
                for line in path.read_text().splitlines()
                for source in json.loads(line)["sources"]
            )
            counts.update(used.values())
        assert uses["in_shards"]["histogram"] == {
            str(number): counts[number] for number in sorted(counts)
        }
        assert uses["in_shards"]["max"] > 1


def test_the_description_of_the_dataset_has_the_size_of_every_shard(built):
    described = parse_dataset((built.folder / "dataset.json").read_text(), "dataset.json")
    assert (built.folder / "COMPLETED").read_text() == described.completed
    for info in described.shards:
        path = built.folder / info.shard.tfrecord("mixtures")
        assert path.stat().st_size == info.num_bytes


READ_WITH_TFDS = """
import builtins, json, sys

real_import = builtins.__import__
def guarded(name, *arguments, **keywords):
    if name.split(".")[0] in ("beam_jobs", "schemas", "training"):
        raise ImportError(name)
    return real_import(name, *arguments, **keywords)
builtins.__import__ = guarded

import tensorflow_datasets as tfds

builder = tfds.builder_from_directory(sys.argv[1])
print(json.dumps({"name": builder.info.name, "version": str(builder.info.version)}))
for split in builder.info.splits:
    for example in tfds.as_numpy(builder.as_dataset(split=split)):
        assert example["mixture"].dtype == example["sources"].dtype == "int16"
        assert example["sources"].shape == (2, len(example["mixture"]))
        assert (example["mixture"] == example["sources"].sum(axis=0)).all()
        print(json.dumps({
            "split": split,
            "id": example["id"].decode(),
            "num_samples": len(example["mixture"]),
            "sample_rate": int(example["sample_rate"]),
            "speakers": [name.decode() for name in example["speakers"]],
            "offsets_s": example["offsets_s"].tolist(),
            "gains_db": example["gains_db"].tolist(),
            "recipe": example["recipe"].decode(),
        }))
"""


@needs_tensorflow
def test_tensorflow_datasets_reads_it_with_none_of_this_project_installed(built, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    read = subprocess.run(
        [sys.executable, "-c", READ_WITH_TFDS, built.folder],
        cwd=tmp_path,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    info, *examples = map(json.loads, read.splitlines())
    assert info == {"name": "mixtures", "version": "1.0.0"}
    examples = {example["id"]: example for example in examples}
    recipes = built.recipes()
    assert examples.keys() == {recipe.id for recipe in recipes}
    for recipe in recipes:
        example = examples[recipe.id]
        assert example["recipe"] == recipe.to_json()
        assert example["split"] == recipe.split
        assert example["num_samples"] == recipe.num_samples
        assert example["sample_rate"] == recipe.sample_rate
        assert example["speakers"] == [source.speaker for source in recipe.sources]
        assert example["offsets_s"] == pytest.approx(
            [source.offset_s for source in recipe.sources], abs=1e-6
        )
        assert example["gains_db"] == pytest.approx(
            [source.level + recipe.common_gain_db for source in recipe.sources], abs=1e-4
        )


@pytest.mark.parametrize(
    ("mode", "builder"),
    [("multi_threading", build), ("multi_processing", build_elsewhere)],
)
def test_two_workers_write_the_same_bytes_as_one(built, build_again, mode, builder):
    again = build_again(f"--direct_running_mode={mode}", "--direct_num_workers=2", builder=builder)
    assert (again.status, again.digests) == (0, built.digests)
    assert again.printed.splitlines()[-1].startswith("done: 60 mixtures")


def test_neither_the_place_of_the_corpus_nor_that_of_the_output_changes_a_byte(
    built, build_again, speech, tmp_path, monkeypatch
):
    shutil.copytree(speech[0], tmp_path / "moved" / "corpus")
    monkeypatch.chdir(tmp_path / "moved")
    moved = build_again(output="./relative", corpus="corpus")
    assert moved.digests == built.digests


def test_another_seed_gives_other_mixtures_of_the_same_splits(built, build_again):
    other = build_again("--seed=1")
    assert other.digests.keys() == built.digests.keys()
    assert not set(other.digests.values()) & set(built.digests.values())
    for split in ("train", "test"):
        first, second = (
            {source.speaker for recipe in one.recipes(split) for source in recipe.sources}
            for one in (built, other)
        )
        assert first == second


def test_killed_at_any_moment_and_started_again_it_writes_the_same_bytes(speech, tmp_path):
    corpus, recipe = speech
    asked = (f"--recipe={recipe}", "--num_mixtures=400", "--num_shards=40", "--splits=train=1")
    expected = build(*asked, corpus=corpus, output=tmp_path / "expected")
    folder = tmp_path / "killed"
    moments = sorted(random.sample(range(1, 30), 3))
    argv = command_line(*asked, corpus=corpus, output=folder)
    for num_shards in moments:

        def ready(num_shards=num_shards):
            return len(list(folder.glob("progress/train-*.json"))) >= num_shards

        kill_when(start(*argv), ready)
        assert not (folder / "COMPLETED").exists(), moments
    before = {path: path.stat().st_mtime_ns for path in folder.glob("progress/train-*.json")}
    shards = {path: path.stat().st_mtime_ns for path in folder.glob("*.tfrecord-*-of-00040")}
    resumed = build(*asked, corpus=corpus, output=folder)
    assert (resumed.status, resumed.digests) == (0, expected.digests), moments
    assert leftovers(folder) == []
    kept = [path for path in shards if path.stat().st_mtime_ns == shards[path]]
    assert len(kept) >= len(before) >= moments[-1]


def test_killed_while_it_reads_the_corpus_it_starts_again(speech, tmp_path):
    corpus, recipe = speech
    asked = (f"--recipe={recipe}", *ASKED)
    folder = tmp_path / "killed"
    kill_when(
        start(*command_line(*asked, corpus=corpus, output=folder)),
        lambda: any(folder.glob("progress/*")),
    )
    resumed = build(*asked, corpus=corpus, output=folder)
    expected = build(*asked, corpus=corpus, output=tmp_path / "expected")
    assert resumed.digests == expected.digests
    assert leftovers(folder) == []


@pytest.fixture
def copied(built, tmp_path):
    """The dataset in a folder that a test may change."""
    return Path(shutil.copytree(built.folder, tmp_path / "mixtures"))


def test_a_completed_dataset_is_left_alone(built, build_again, copied):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    again = build_again(output=copied)
    assert (again.status, again.last_line) == (
        0,
        built.last_line.replace(str(built.folder), str(copied)),
    )
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_what_a_job_left_behind_that_was_killed_at_its_very_end_is_removed(build_again, copied):
    (copied / "progress").mkdir()
    (copied / "progress" / "train-00000-of-00003.json").write_text("{}")
    (copied / "report.html.incomplete-0123").write_text("")
    assert build_again(output=copied).status == 0
    assert leftovers(copied) == []
    assert not (copied / "progress").exists()


def test_a_folder_that_was_asked_for_otherwise_is_refused_and_the_differences_are_named(
    built, build_again, copied
):
    before = shard_digests(copied)
    refused = build_again("--seed=7", "--gzip", "--length=min", output=copied)
    assert refused.status == 1
    assert refused.printed == ""
    (line,) = refused.complaints.splitlines()
    assert "seed: 0 there, 7 here" in line
    assert 'compression: "" there, "GZIP" here' in line
    assert '"length": "max"' in line
    assert "--overwrite" in line
    assert shard_digests(copied) == before == built.digests


def test_its_recipes_give_the_same_bytes(built, speech, tmp_path):
    corpus, _ = speech
    again = build(
        f"--recipes={built.folder}/recipes/*.jsonl",
        "--num_shards=3",
        corpus=corpus,
        output=tmp_path / "mixtures",
    )
    assert again.digests == built.digests


def test_a_folder_whose_mixtures_were_planned_otherwise_is_refused(build_again, copied):
    job = json.loads((copied / "job.json").read_text())
    del job["plan"]
    (copied / "job.json").write_text(json.dumps(job))
    refused = build_again(output=copied)
    assert refused.status == 1
    (line,) = refused.complaints.splitlines()
    assert "planned by another version of this program, plan 1 there and 2 here" in line
    assert "--overwrite" in line


def test_overwrite_removes_the_dataset_and_nothing_else(built, build_again, copied):
    (copied / "notes.txt").write_text("mine")
    overwritten = build_again("--seed=7", "--num_shards=2", "--overwrite", output=copied)
    assert overwritten.status == 0
    assert len(overwritten.digests) == 4
    assert not set(overwritten.digests.values()) & set(built.digests.values())
    assert (copied / "notes.txt").read_text() == "mine"


def test_recipes_alone_are_those_of_the_audio_that_may_follow(built, build_again):
    alone = build_again("--recipes_only", builder=build_elsewhere)
    assert alone.status == 0
    assert alone.last_line == f"done: 60 recipes in {alone.folder / 'recipes'}"
    assert alone.digests == {}
    assert [
        [(source.utterance, source.offset_s, source.level) for source in recipe.sources]
        for recipe in alone.recipes()
    ] == [
        [(source.utterance, source.offset_s, source.level) for source in recipe.sources]
        for recipe in built.recipes()
    ]
    assert build_again().digests == built.digests


@needs_tensorflow
def test_gzip_compresses_the_same_records(built, build_again):
    import tensorflow as tf  # noqa: PLC0415

    compressed = build_again("--gzip")
    for path in sorted(compressed.folder.glob("*.tfrecord-*")):
        plain = built.folder / path.name.replace("again", "mixtures")
        assert path.stat().st_size < plain.stat().st_size
        records, expected = (
            list(tf.data.TFRecordDataset(str(file), compression).as_numpy_iterator())
            for file, compression in ((path, "GZIP"), (plain, ""))
        )
        assert records == expected


def test_the_splits_of_a_corpus_are_kept(recipe, tmp_path):
    corpus = tmp_path / "LibriSpeech"
    speakers = {"train-clean-100": (19, 26, 27), "dev-clean": (84, 174), "test-clean": (61, 121)}
    for subset, numbers in speakers.items():
        for speaker in numbers:
            folder = corpus / subset / str(speaker) / "1001"
            folder.mkdir(parents=True)
            for number in range(2):
                path = folder / f"{speaker}-1001-{number:04d}.flac"
                soundfile.write(path, voice(80 + speaker, 0.5), SAMPLE_RATE)
    (corpus / "SPEAKERS.TXT").write_text("; ID |SEX| SUBSET\n19 | F | train-clean-100 | 25 | A\n")
    kept = build(f"--recipe={recipe}", "--splits=corpus", corpus=corpus, output=tmp_path / "out")
    assert kept.status == 0
    for split, subset in zip(("train", "validation", "test"), speakers, strict=True):
        used = [source for recipe in kept.recipes(split) for source in recipe.sources]
        assert {source.speaker for source in used} == {str(name) for name in speakers[subset]}
        assert all(source.gender == ("f" if source.speaker == "19" else "") for source in used)


def test_a_pattern_finds_the_files_and_a_regular_expression_the_speakers(recipe, tmp_path):
    for speaker in ("anna", "bert", "carl"):
        for room in ("a", "b"):
            folder = tmp_path / "rooms" / room
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{speaker}_take1.wav", voice(100, 0.5), SAMPLE_RATE)
            soundfile.write(folder / f"{speaker}_noise.wav", voice(100, 0.5), SAMPLE_RATE)
    found = build(
        f"--recipe={recipe}",
        "--splits=train=1",
        r"--speaker_regex=([a-z]+)_take\d\.wav$",
        corpus=tmp_path / "rooms" / "**" / "*_take*.wav",
        output=tmp_path / "out",
    )
    assert found.status == 0
    used = [source for recipe in found.recipes() for source in recipe.sources]
    assert {source.speaker for source in used} == {"anna", "bert", "carl"}
    assert {source.path for source in used} == {
        f"{room}/{speaker}_take1.wav" for room in "ab" for speaker in ("anna", "bert", "carl")
    }


def test_two_corpora_may_have_the_same_names_inside(recipe, tmp_path):
    first = write_corpus(tmp_path / "first", num_speakers=2)
    second = write_corpus(tmp_path / "second", num_speakers=2)
    both = build(
        f"--corpus={first}",
        f"--recipe={recipe}",
        "--splits=train=1",
        corpus=second,
        output=tmp_path / "out",
    )
    assert both.status == 0
    assert both.num_mixtures == 6
    assert {source.speaker for recipe in both.recipes() for source in recipe.sources} == {
        f"{name}/speaker{number}" for name in ("first", "second") for number in (0, 1)
    }


def test_common_formats_are_read(recipe, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=4, num_utterances=1, suffix=".wav")
    suffixes = (".wav", ".flac", ".ogg", ".mp3")
    for path, suffix in zip(sorted(corpus.rglob("*.wav")), suffixes, strict=True):
        sound, rate = soundfile.read(path)
        path.unlink()
        soundfile.write(path.with_suffix(suffix), sound, rate)
    read = build(f"--recipe={recipe}", "--splits=train=1", corpus=corpus, output=tmp_path / "out")
    assert (read.status, read.num_mixtures) == (0, 2)
    used = {Path(source.path).suffix for recipe in read.recipes() for source in recipe.sources}
    assert used == set(suffixes)


@pytest.mark.parametrize("preset", ["overlay", "overlay_gain", "librimix", "wsj0mix"])
def test_the_presets_do_what_they_promise(corpus, tmp_path, preset):
    built = build(
        f"--recipe={preset}",
        "--splits=train=1",
        "--sample_rate=8000",
        corpus=corpus,
        output=tmp_path / "out",
    )
    assert (built.status, built.num_mixtures) == (0, 12)
    for recipe in built.recipes():
        first, second = recipe.sources
        if preset.startswith("overlay"):
            assert 1 <= second.offset_s - first.offset_s <= 5
            assert abs(second.level) <= (5 if preset == "overlay_gain" else 0)
        else:
            assert second.offset_s == 0
            assert recipe.duration_s == min(first.duration_s, second.duration_s)
            if preset == "librimix":
                assert all(-33 <= source.level <= -25 for source in recipe.sources)
            else:
                assert 0 <= first.level - second.level <= 5


def test_a_log_has_plain_lines(build_again):
    built = build_again()
    line = built.complaints.splitlines()[-1]
    assert re.fullmatch(
        r"100% 60/60 mixtures, 6/6 shards, 0\.\d\d h of audio, 0 rejected, .*mixtures/s, .* left",
        line,
    )
    assert "\r" not in built.complaints


def read_to_the_end(terminal, shown):
    """Collects what is written to a pseudo-terminal; reading it fails when all have closed it."""
    with contextlib.suppress(OSError):
        while block := os.read(terminal, 1 << 16):
            shown.append(block)


def test_a_terminal_has_a_bar(build_again):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    shown = []
    reader = threading.Thread(target=read_to_the_end, args=(terminal, shown))
    reader.start()
    built = build_again(builder=build_elsewhere, stderr=end)
    os.close(end)
    reader.join()
    os.close(terminal)
    assert built.status == 0
    last = b"".join(shown).decode().rstrip().split("\r")[-1]
    assert re.search(
        r"100%\|█+\| 60/60 mixtures, 6/6 shards, 0\.\d\d h of audio, .*mixtures/s", last
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--num_mixture=5"], "unknown option --num_mixture: did you mean --num_mixtures?"),
        (
            ["--recipe=overlap"],
            "--recipe=overlap: no such file, and no recipe that ships: did you mean overlay?",
        ),
        (
            ["--recipe=x.json"],
            "--recipe=x.json: no such file, and no recipe that ships: those are broadcast, ",
        ),
        (["--splits=train=0.2"], "--splits=train=0.2: the shares must add up to 1"),
        (["--splits=train=-1,test=2"], "--splits=train=-1,test=2: the share of train is -1: a "),
        (["--splits=train=1,test=nan"], "--splits=train=1,test=nan: the share of test is nan: "),
    ],
)
def test_a_command_line_that_cannot_be_followed_gets_one_line(
    corpus, tmp_path, arguments, complaint
):
    refused = build(*arguments, corpus=corpus, output=tmp_path / "out")
    assert refused.status == 1
    (line,) = refused.complaints.splitlines()
    assert line.startswith(f"build_mixtures: {complaint}")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_version_gets_its_name(corpus, recipe, tmp_path):
    named = build(
        f"--recipe={recipe}", "--recipes_only", corpus=corpus, output=tmp_path / "Talks" / "2.1.0"
    )
    assert named.status == 0
    assert dataset_name(str(named.folder)) == ("talks", "2.1.0")
