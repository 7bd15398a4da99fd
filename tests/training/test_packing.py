"""What goes wrong while packed speech, packed mixtures and the models of them are made and read."""

import shutil

import pytest
from read_only import full_disk
from tiny_models import save_bundle, split_bands

from schemas.voice_model import VOICES
from training.upper_band import pack as pack_upper_band
from training.upper_band import train as train_upper_band
from training.voices import evaluate, speech
from training.voices import export as export_voices


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save_bundle(tmp_path_factory.mktemp("bundle"), split_bands, aligned=True)


@pytest.fixture(scope="module")
def datasets(dataset_writer, tmp_path_factory):
    """Two folders with a dataset of the same name in each, at 16 kHz."""
    folder = tmp_path_factory.mktemp("datasets")
    for number in (1, 2):
        counts = {"train": 1, "validation": 1, "test": number}
        dataset_writer(
            folder / f"{number}/1.0.0", sample_rate=16000, duration_s=4.0, num_mixtures=counts
        )
    return folder


@pytest.fixture
def pack(datasets, bundle, tmp_path):
    """Packs one of the datasets, with one of the commands; returns the exit status."""

    def run(command, number=1):
        options = ["--dataset", str(datasets / f"{number}/1.0.0"), "--output", str(tmp_path / "p")]
        if command is pack_upper_band:
            options += ["--separator", str(bundle)]
        return command.main(options)

    return run


def complaint(capsys):
    """Returns the last line, of which there is no traceback."""
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    return printed.splitlines()[-1]


@pytest.mark.parametrize("command", [speech, pack_upper_band])
def test_of_two_datasets_of_one_name_the_second_is_not_left_out_in_silence(pack, command, capsys):
    assert pack(command, 1) == 0
    assert pack(command, 2) == 1
    assert "has another dataset of this name: name another --output" in complaint(capsys)
    assert pack(command, 1) == 0


@pytest.mark.parametrize("command", [speech, pack_upper_band])
def test_a_full_disk_leaves_nothing_behind_and_packing_can_begin_again(
    pack, command, tmp_path, capsys
):
    with full_disk(20_000):
        assert pack(command) == 1
    line = complaint(capsys)
    assert f"{tmp_path}/p/1.0.0." in line
    assert "can't be written: File too large: make room there" in line
    assert not list((tmp_path / "p").iterdir())
    assert pack(command) == 0


@pytest.mark.parametrize("damage", ["shorter", "not JSON", "another JSON", "gone"])
def test_damaged_speech_is_named(pack, damage, tmp_path, capsys):
    assert pack(speech) == 0
    index, pcm = tmp_path / "p/1.0.0.clean.json", tmp_path / "p/1.0.0.clean.pcm"
    if damage == "shorter":
        pcm.write_bytes(pcm.read_bytes()[:-2])
    elif damage == "gone":
        pcm.unlink()
    else:
        index.write_text("{" if damage == "not JSON" else "{}")
    assert pack(speech) == 1
    line = complaint(capsys)
    assert f"{index}: it or the .pcm beside it is damaged" in line
    assert "pack them again" in line


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut off"])
def test_damaged_packed_mixtures_are_named(pack, bundle, content, tmp_path, capsys):
    assert pack(pack_upper_band) == 0
    path = tmp_path / "p/1.0.0.train.npz"
    path.write_bytes(content)
    options = ["--packed", str(tmp_path / "p"), "--bundle", str(bundle), "--steps", "1"]
    assert train_upper_band.main(options) == 1
    assert f"{path}: damaged: copy it again, or remove it" in complaint(capsys)


def test_a_bundle_that_is_not_there_is_said_before_an_upper_band_is_trained(pack, tmp_path, capsys):
    assert pack(pack_upper_band) == 0
    options = ["--packed", str(tmp_path / "p"), "--bundle", str(tmp_path / "nothing")]
    capsys.readouterr()
    assert train_upper_band.main(options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{tmp_path}/nothing/bundle.json: no such file or directory")


def test_a_separator_of_another_rate_gets_no_upper_band(datasets, bundle, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    description = other / "bundle.json"
    description.write_text(description.read_text().replace("8000", "16000"))
    options = ["--dataset", str(datasets / "1/1.0.0"), "--separator", str(other)]
    assert pack_upper_band.main([*options, "--output", str(tmp_path / "p")]) == 1
    assert f"{other}: for 1 channels at 16000 Hz" in complaint(capsys)


def test_a_path_that_is_not_on_this_machine_makes_no_folder_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--model_dir", "m", "--speech", "s", "--output", "gs://bucket/voices"]
    assert export_voices.main(options) == 1
    assert "gs://bucket/voices: is not on this machine" in complaint(capsys)
    assert not list(tmp_path.iterdir())


def test_a_url_of_this_machine_is_its_path(datasets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", str(datasets / "1/1.0.0"), "--output", f"file://{tmp_path}/a%20b"]
    assert speech.main(options) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a b"]


def test_what_is_no_voice_model_is_not_evaluated(bundle, tmp_path, capsys):
    assert evaluate.main(["--model", str(bundle), "--speech", str(tmp_path)]) == 1
    assert f"{bundle}/{VOICES}: no such file or directory" in complaint(capsys)
