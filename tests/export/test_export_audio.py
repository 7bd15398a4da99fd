"""Other people's tools read an exported dataset to the last sample."""

import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import uuid

import numpy as np
import pytest
import soundfile
from exports import export, stored
from optional import needs_tensorflow
from small_datasets import SAMPLE_RATE, build
from stems import noise, write_csv, write_song

from beam_jobs import export_audio
from beam_jobs.dataset.reading import open_dataset
from beam_jobs.export import export_transforms
from beam_jobs.export.layout import file_name
from beam_jobs.separation.turns import parse_rttm
from beam_jobs.storage import files
from schemas.tfrecord import read_records, write_record


def read(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_folders_hold_every_sample_and_the_recipe(noisy, tmp_path, audio_format, capsys):
    output = tmp_path / "export"
    assert export(noisy, output, "folders", f"--audio_format={audio_format}") == 0
    mixtures = stored(noisy)
    assert capsys.readouterr().out == f"done: {len(mixtures)} mixtures in {output}\n"
    for name, mixture in mixtures.items():
        folder = output / mixture.recipe.split / name
        sources = zip(("first_speaker", "second_speaker"), mixture.sources, strict=True)
        expected = {"mixture": mixture.mixture, "noise": mixture.noise} | dict(sources)
        assert {path.stem for path in folder.glob(f"*.{audio_format}")} == set(expected)
        for part, samples in expected.items():
            np.testing.assert_array_equal(read(folder / f"{part}.{audio_format}"), samples)
        assert (folder / "recipe.json").read_text() == mixture.recipe.to_json() + "\n"
        first, second = mixture.recipe.sources
        turns = parse_rttm((folder / "mixture.rttm").read_text())
        stm = [line.split(" ", 5) for line in (folder / "mixture.stm").read_text().splitlines()]
        assert [line[-1] for line in stm] == [f"I am {name}", "IGNORE_TIME_SEGMENT_IN_SCORING"]
        for source, turn, line in zip((first, second), turns, stm, strict=True):
            assert line[:3] == [name, "1", source.speaker]
            start_s, stop_s = source.offset_s, source.offset_s + source.duration_s
            assert list(map(float, line[3:5])) == pytest.approx([start_s, stop_s], abs=0.001)
            assert turn.speaker == source.speaker
            times_s = [turn.onset_s, turn.duration_s]
            assert times_s == pytest.approx([start_s, source.duration_s], abs=0.001)


@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("folders", "{split}/{name}/degraded.wav"),
        ("lhotse", "{split}/{name}/degraded.wav"),
        ("spleeter", "{split}/{name}/degraded.wav"),
        ("librimix", "Libri2Mix/wav8k/min/{subset}/mix_degraded/{name}.wav"),
    ],
)
def test_every_layout_has_what_became_of_a_mixture_beside_it(transmitted, tmp_path, layout, path):
    assert export(transmitted, tmp_path / "export", layout, "--audio_format=wav") == 0
    subsets = {"train": "train-360", "validation": "dev", "test": "test"}
    for name, mixture in stored(transmitted).items():
        split = mixture.recipe.split
        file = path.format(split=split, name=name, subset=subsets[split])
        assert (mixture.degraded != mixture.mixture).any()
        np.testing.assert_array_equal(read(tmp_path / "export" / file), mixture.degraded)


def test_tables_and_manifests_name_degraded_mixtures(transmitted, tmp_path):
    for layout in ("spleeter", "librimix", "lhotse"):
        export(transmitted, tmp_path / layout, layout)
    names = [name for name, one in stored(transmitted).items() if one.recipe.split == "train"]
    # With "mix_name": "degraded", Spleeter trains on these.
    rows = read_table(tmp_path / "spleeter/train.csv")
    assert [row["degraded_path"] for row in rows] == [
        f"train/{name}/degraded.wav" for name in names
    ]
    metadata = tmp_path / "librimix/Libri2Mix/wav8k/min/metadata"
    rows = read_table(metadata / "mixture_train-360_mix_degraded.csv")
    assert [soundfile.info(row["mixture_path"]).frames for row in rows] == [
        int(row["length"]) for row in rows
    ]
    (cuts,) = (tmp_path / "lhotse").glob("*_cuts_train.jsonl")
    cut = json.loads(cuts.read_text().splitlines()[0])
    (source,) = cut["custom"]["degraded"]["sources"]
    assert source["source"].endswith("/degraded.flac")


def test_a_degraded_mixture_is_no_instrument(transmitted, tmp_path):
    export(transmitted, tmp_path / "export", "spleeter")
    again = build(
        f"--recipes={tmp_path / 'export'}/*.csv",
        corpus=tmp_path / "export",
        output=tmp_path / "dataset",
    )
    assert again.status == 0
    assert open_dataset(str(again.folder)).instruments == ("first_speaker", "second_speaker")


class LibriMix:
    """Reads LibriMix as asteroid's class of this name does: a folder with a table for each task."""

    def __init__(self, csv_dir, task, *, n_src=2):
        kind = {"sep_clean": "clean", "sep_noisy": "both", "enh_single": "single"}[task]
        (table,) = [path for path in csv_dir.iterdir() if kind in path.name]
        self.rows, self.n_src = read_table(table), n_src

    def __getitem__(self, index):
        row = self.rows[index]
        names = [f"source_{number}_path" for number in range(1, self.n_src + 1)]
        mixture, *sources = (
            soundfile.read(row[name], dtype="int16", stop=int(row["length"]))[0]
            for name in ("mixture_path", *names)
        )
        # Arrays of one length: asteroid stacks them.
        return mixture, np.vstack(sources)


def local_metadata(librimix, folder):
    """Sorts LibriMix's tables into a folder for each subset, as asteroid's recipe does."""
    for metadata in librimix.glob("*/*/metadata"):
        for table in metadata.glob("mix*"):
            subset = table.name.split("_")[1]
            (folder / subset).mkdir(parents=True, exist_ok=True)
            shutil.copy(table, folder / subset)
    return folder


def test_asteroid_reads_the_librimix_layout(noisy, tmp_path):
    assert export(noisy, tmp_path / "export", "librimix") == 0
    tables = local_metadata(tmp_path / "export/Libri2Mix", tmp_path / "data")
    mixtures = stored(noisy)
    seen = []
    for subset in ("train-360", "dev", "test"):
        clean, both, single = (
            LibriMix(tables / subset, task, n_src=n_src)
            for task, n_src in (("sep_clean", 2), ("sep_noisy", 2), ("enh_single", 1))
        )
        for index, row in enumerate(clean.rows):
            expected = mixtures[row["mixture_ID"]]
            seen.append(row["mixture_ID"])
            hiss, voices = expected.noise[:, 0], expected.sources[..., 0]
            for read_by, mixture, sources in (
                (clean, voices.sum(axis=0), voices),
                (both, expected.mixture[:, 0], voices),
                (single, voices[0] + hiss, voices[:1]),
            ):
                np.testing.assert_array_equal(read_by[index][0], mixture)
                np.testing.assert_array_equal(read_by[index][1], sources)
    assert sorted(seen) == sorted(mixtures)


def test_speechbrain_reads_the_librimix_layout(speech, tmp_path):
    """Its preparation lists a folder of mixtures, and expects the same names in the others."""
    assert export(speech, tmp_path / "export", "librimix") == 0
    mixtures = stored(speech)
    for subset, split in (("train-360", "train"), ("dev", "validation"), ("test", "test")):
        folder = tmp_path / "export/Libri2Mix/wav8k/min" / subset
        names = os.listdir(folder / "mix_clean")
        of_split = {name for name, one in mixtures.items() if one.recipe.split == split}
        assert {os.path.splitext(name)[0] for name in names} == of_split
        for name in names:
            mixture, *sources = (read(folder / part / name) for part in ("mix_clean", "s1", "s2"))
            np.testing.assert_array_equal(mixture, sum(sources))


@pytest.fixture(scope="module")
def stereo_stems(tmp_path_factory):
    corpus = tmp_path_factory.mktemp("corpus") / "stems"
    for number in range(3):
        tracks = {name: noise([number, len(name)]) for name in ("vocals", "drums")}
        write_song(corpus / f"song, {number}", tracks)
    write_csv(corpus / "train.csv", ["song, 0", "song, 1"])
    write_csv(corpus / "validation.csv", ["song, 2"])
    output = tmp_path_factory.mktemp("stereo") / "dataset"
    built = build(f"--recipes={corpus / '*.csv'}", corpus=corpus, output=output)
    assert built.status == 0
    return built.folder


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_what_is_exported_for_spleeter_comes_back_with_the_same_samples(
    stereo_stems, tmp_path, audio_format
):
    exported = tmp_path / "export"
    assert export(stereo_stems, exported, "spleeter", f"--audio_format={audio_format}") == 0
    recipes = f"--recipes={exported / '*.csv'}"
    again = build(recipes, corpus=exported, output=tmp_path / "dataset")
    assert again.status == 0
    before, after = stored(stereo_stems), stored(again.folder)
    assert len(before) == len(after) == 3
    for name, mixture in before.items():
        returned = after[f"{mixture.recipe.split}_{name}_mix"]
        np.testing.assert_array_equal(returned.mixture, mixture.mixture)
        np.testing.assert_array_equal(returned.sources, mixture.sources)


@needs_tensorflow
def test_stock_spleeter_trains_on_the_export(speech, tmp_path):
    assert shutil.which("ffmpeg"), "no ffmpeg here: apt-get install ffmpeg"
    assert export(speech, tmp_path / "export", "spleeter") == 0
    configuration = json.loads((tmp_path / "export/configuration.json").read_text())
    assert configuration["instrument_list"] == ["first_speaker", "second_speaker"]
    configuration |= {
        "T": 64,
        "F": 64,
        "frame_length": 256,
        "frame_step": 64,
        "batch_size": 2,
        "train_max_steps": 1,
        "throttle_secs": 0,
    }
    configuration["model"]["params"]["conv_n_filters"] = [4] * 6
    (tmp_path / "tiny.json").write_text(json.dumps(configuration))
    command = ["-m", "spleeter", "train", "-p", "tiny.json", "-d", "export"]
    training = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert training.returncode == 0, training.stderr
    assert (tmp_path / "export/model/model.ckpt-1.index").exists()
    assert list((tmp_path / "export/model/eval").iterdir())


def test_spleeters_tables_name_speakers_by_their_order(speech, tmp_path):
    assert export(speech, tmp_path, "spleeter") == 0
    rows = [
        row
        for split in ("train", "validation", "test")
        for row in read_table(tmp_path / f"{split}.csv")
    ]
    mixtures = stored(speech)
    assert len(rows) == len(mixtures)
    for row in rows:
        assert list(row)[:4] == [
            *("mix_path", "first_speaker_path", "second_speaker_path", "duration")
        ]
        mixture = mixtures[row["mix_path"].split("/")[1]]
        np.testing.assert_array_equal(read(tmp_path / row["mix_path"]), mixture.mixture)
        np.testing.assert_array_equal(
            read(tmp_path / row["second_speaker_path"]), mixture.sources[1]
        )
        assert float(row["duration"]) == len(mixture.mixture) / SAMPLE_RATE


def test_the_tables_say_who_speaks_and_from_when(noisy, tmp_path):
    assert export(noisy, tmp_path / "spleeter", "spleeter") == 0
    assert export(noisy, tmp_path / "librimix", "librimix") == 0
    mixtures = stored(noisy)
    for table in (
        *(tmp_path / "spleeter").glob("*.csv"),
        *(tmp_path / "librimix").rglob("*_both.csv"),
    ):
        for row in read_table(table):
            spleeter = "mix_path" in row
            mixture = mixtures[row["mix_path"].split("/")[1] if spleeter else row["mixture_ID"]]
            names = ["first_speaker", "second_speaker"] if spleeter else ["source_1", "source_2"]
            for name, source in zip(names, mixture.recipe.sources, strict=True):
                assert row[f"{name}_id" if spleeter else f"{name}_speaker"] == source.speaker
                assert row[f"{name}_gender"] == "unknown"
                assert float(row[f"{name}_offset_s"]) == source.offset_s
            assert float(row["overlap_ratio"]) == pytest.approx(
                mixture.recipe.overlap_ratio, abs=1e-4
            )


class TestGuarantees:
    def test_a_killed_export_goes_on_and_comes_to_the_same_files(
        self, speech, tmp_path, monkeypatch, capsys
    ):
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert export(speech, whole, "folders") == 0
        export_shard, done = export_transforms.export_shard, []

        def dies_in_the_third_shard(info, exporting, count_mixture):
            done.append(info.shard)
            if len(done) == 3:
                path = exporting.path(f"{info.shard.split}/half/mixture.wav.incomplete-1")
                os.makedirs(os.path.dirname(path))
                open(path, "w").close()
                raise OSError("No space left on device")
            export_shard(info, exporting, count_mixture)

        monkeypatch.setattr(export_transforms, "export_shard", dies_in_the_third_shard)
        arguments = ["--direct_num_workers=1"]
        assert export(speech, killed, "folders", *arguments) == 1
        assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
        assert not (killed / "COMPLETED").exists()
        finished = set(done[:2])
        del done[:]
        monkeypatch.setattr(
            export_transforms,
            "export_shard",
            lambda *arguments: (done.append(arguments[0].shard), export_shard(*arguments)),
        )
        assert export(speech, killed, "folders", *arguments) == 0
        assert not finished & set(done)
        assert contents(killed) == contents(whole)
        del done[:]
        assert export(speech, killed, "folders", *arguments) == 0
        assert not done

    def test_a_damaged_shard_is_named_and_exported_when_it_is_mended(
        self, speech, tmp_path, capsys
    ):
        damaged, output = tmp_path / "dataset", tmp_path / "export"
        shutil.copytree(speech, damaged)
        shard = min(damaged.glob("*-train.tfrecord-*"))
        content = shard.read_bytes()
        shard.write_bytes(content[:1000] + b"\0" + content[1001:])
        assert export(damaged, output, "spleeter") == 3
        captured = capsys.readouterr()
        assert "1 things could not be exported" in captured.out
        assert re.search(r"^100% 8/8 mixtures, .* h of audio, 1 rejected, ", captured.err, re.M)
        (line,) = (output / "rejected.jsonl").read_text().splitlines()
        assert json.loads(line) == {"path": str(shard), "reason": "damaged: copy the shard again"}
        shard.write_bytes(content)
        assert export(damaged, output, "spleeter") == 0
        whole = tmp_path / "whole"
        assert export(speech, whole, "spleeter") == 0
        own_paths = ("configuration.json",)
        for name, expected in contents(whole).items():
            if name not in own_paths:
                assert contents(output)[name] == expected, name

    def test_another_export_in_the_folder_is_refused_with_what_differs(
        self, speech, tmp_path, capsys
    ):
        assert export(speech, tmp_path, "folders") == 0
        before = contents(tmp_path)
        assert export(speech, tmp_path, "folders", "--audio_format=flac") == 1
        assert 'audio_format: "wav" there, "flac" here' in capsys.readouterr().err
        assert contents(tmp_path) == before

    def test_a_dataset_is_not_written_into(self, speech, capsys):
        before = contents(speech)
        assert export(speech, speech, "folders") == 1
        assert "holds a dataset: name another --output" in capsys.readouterr().err
        assert contents(speech) == before

    def test_an_unfinished_dataset_is_refused(self, speech, tmp_path, capsys):
        unfinished = tmp_path / "dataset"
        shutil.copytree(speech, unfinished)
        (unfinished / "COMPLETED").unlink()
        assert export(unfinished, tmp_path / "export", "folders") == 1
        assert "no COMPLETED" in capsys.readouterr().err
        assert not (tmp_path / "export").exists()

    def test_librimix_is_mono(self, stereo_stems, tmp_path, capsys):
        assert export(stereo_stems, tmp_path / "export", "librimix") == 1
        assert "--layout=librimix is mono" in capsys.readouterr().err

    def test_mixtures_of_one_id_are_in_no_table(self, speech, tmp_path):
        """Datasets of given recipes with one id twice could be made once."""
        dataset = shutil.copytree(speech, tmp_path / "dataset")
        described = open_dataset(str(dataset))
        info = described.split_shards("train")[0]
        shard = dataset / info.shard.tfrecord(described.name)
        with shard.open("rb") as file:
            first = next(read_records(file))
        with shard.open("ab") as file:
            write_record(file, first)
        num_bytes, crc32c = files.checksum(str(shard))
        doubled = dataclasses.replace(
            info, num_mixtures=info.num_mixtures + 1, num_bytes=num_bytes, crc32c=crc32c
        )
        shards = tuple(doubled if one is info else one for one in described.shards)
        changed = dataclasses.replace(described, shards=shards)
        (dataset / "dataset.json").write_text(changed.to_json())
        (dataset / "COMPLETED").write_text(changed.completed)
        assert export(dataset, tmp_path / "export", "spleeter") == 3
        rows = read_table(tmp_path / "export/train.csv")
        num_mixtures = sum(one.num_mixtures for one in described.split_shards("train"))
        assert len(rows) == num_mixtures - 1


def test_any_id_is_a_file_name_and_another_one_for_each():
    ids = ["a/b", "a%2Fb", "a_b", "..", ".", "a:b", "żółw 你", "a\nb", "a.b"]
    names = [file_name(one) for one in ids]
    assert len(set(names)) == len(ids)
    assert not {".", ".."} & set(names)
    assert not [name for name in names if "/" in name]
    assert file_name("train-000000001") == "train-000000001"


def test_ids_that_are_too_long_for_a_file_have_names_of_their_own():
    names = {file_name("песня" * 50 + str(number)) for number in range(10)}
    assert len(names) == 10
    assert max(len(f"{name}.incomplete-{uuid.uuid4().hex}.flac".encode()) for name in names) <= 255
    assert all(name.startswith("песня" * 5) for name in names)


@pytest.mark.parametrize("content", ["{", "{}", '{"featuresDict": []}', ""])
def test_a_damaged_list_of_features_is_one_line(speech, tmp_path, capsys, content):
    copy = tmp_path / "copy"
    shutil.copytree(speech, copy)
    (copy / "features.json").write_text(content)
    command = [f"--dataset={copy}", f"--output={tmp_path}/out", "--layout=folders"]
    assert export_audio.main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"export_audio: {copy}/features.json: ")
