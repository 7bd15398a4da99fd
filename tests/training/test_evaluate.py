import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from schemas.configuration import Configuration
from schemas.mixture import decode_mixture
from scoring.evaluation import IDEAL_RATIO_MASK, UNPROCESSED
from training.evaluate import main
from training.input import open_mixtures, read_examples
from training.model_dir import Metrics, ModelDir, TrainingState

MakeDataset = Callable[..., Path]
MakeConfiguration = Callable[..., Configuration]


def save_untrained(folder: Path, configuration: Configuration) -> None:
    model_dir = ModelDir(str(folder))
    model_dir.prepare(configuration)
    model_dir.save_best(TrainingState(configuration), Metrics(1, 0.0, 0.0, "ab" * 32))


def test_models_and_bounds_are_in_one_table(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = {"num_blocks": 1, "num_repeats": 1}
    for name, model_type in (("mask", "joint.tcn"), ("tasnet", "joint.tasnet")):
        model = {"type": model_type, "params": params}
        save_untrained(tmp_path / name, configuration("joint_tasnet_8k", model=model))
    arguments = ["--model_dir", str(tmp_path / "mask"), "--model_dir", str(tmp_path / "tasnet")]
    arguments += ["--dataset", str(make_dataset()), "--output", str(tmp_path / "report")]
    assert main(arguments) == 0
    document = json.loads((tmp_path / "report/report.json").read_text())
    rows = {row["model"]: row for row in document["models"]}
    assert list(rows) == [UNPROCESSED, "mask", "tasnet", IDEAL_RATIO_MASK]
    assert rows[UNPROCESSED]["si_sdri_db"] == {"mean": 0, "median": 0}
    assert rows[IDEAL_RATIO_MASK]["si_sdri_db"]["mean"] > 5
    assert {row["mixtures"] for row in rows.values()} == {4}
    groups = rows["mask"]["groups"]
    assert sum(cell["mixtures"] for cell in groups["gender"].values()) == 4
    assert list(groups["overlap"]) == ["50-75 %"]
    text, shown = capsys.readouterr()
    assert shown.splitlines()[-1].startswith("100% 4/4 mixtures, 0.00 h of audio, ")
    where = f"the report: {tmp_path / 'report/report.html'}\n"
    assert text == (tmp_path / "report/report.txt").read_text() + "\n" + where
    assert IDEAL_RATIO_MASK in text
    page = (tmp_path / "report/report.html").read_text()
    files = {part.split('"')[0] for part in page.split('src="')[1:]}
    players = {file for file in files if file.endswith(".flac")}
    assert len(players) == 4 * (1 + 4 * 2)
    for player in players:
        assert soundfile.info(tmp_path / "report" / player).samplerate == 8000
    pictures = files - players
    assert len(pictures) == 4 * 4
    for picture in pictures:
        Image.open(tmp_path / "report" / picture).verify()


def test_silent_rows_are_scored_by_what_is_left_in_their_outputs(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
) -> None:
    model = {"type": "joint.tcn", "params": {"num_blocks": 1, "num_repeats": 1}}
    names = ["a", "b", "c"]
    save_untrained(
        tmp_path / "model", configuration("joint_tcn_mask_8k", model=model, instrument_list=names)
    )
    folder = make_dataset(num_sources=3, silent_rows=True)
    arguments = ["--model_dir", str(tmp_path / "model"), "--dataset", str(folder)]
    assert main([*arguments, "--output", str(tmp_path / "report")]) == 0
    document = json.loads((tmp_path / "report/report.json").read_text())
    mask = next(row for row in document["models"] if row["model"] == IDEAL_RATIO_MASK)
    # Of four mixtures, two have one speaker, one has two, and one three.
    assert mask["si_sdri_db"]["mixtures"] == 2
    assert mask["single_si_sdr_db"]["mixtures"] == 2
    assert mask["residual_db"]["mixtures"] == 3
    assert mask["residual_db"]["mean"] < -60
    assert set(mask["groups"]["number of speakers"]) == {"2", "3"}


def test_a_model_for_degraded_mixtures_is_scored_on_them(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {"type": "joint.tcn", "params": {"num_blocks": 1, "num_repeats": 1}}
    folder = make_dataset(degraded=True, num_mixtures={"train": 1, "validation": 1, "test": 1})
    for mixture in ("given", "degraded"):
        config = configuration(
            "joint_tcn_mask_8k", model=model, mixture=mixture, dynamic_remixing=False
        )
        save_untrained(tmp_path / mixture, config)
    arguments = ["--dataset", str(folder), "--output", str(tmp_path / "report")]
    assert main(["--model_dir", str(tmp_path / "degraded"), *arguments]) == 0
    (record,) = read_examples(open_mixtures(str(folder)), "test")
    degraded = decode_mixture(record, "test").degraded
    played = [soundfile.read(path, dtype="int16")[0] for path in tmp_path.rglob("*.flac")]
    assert any(np.array_equal(one, degraded[: len(one), 0]) for one in played)
    both = [f"--model_dir={tmp_path / mixture}" for mixture in ("given", "degraded")]
    assert main([*both, *arguments]) == 1
    assert "degraded is for degraded mixtures and given is not" in capsys.readouterr().err


def test_a_damaged_test_shard_is_named(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {"type": "joint.tcn", "params": {"num_blocks": 1, "num_repeats": 1}}
    save_untrained(tmp_path / "model", configuration("joint_tcn_mask_8k", model=model))
    folder = make_dataset()
    shard = folder / "voices-test.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    arguments = ["--model_dir", str(tmp_path / "model"), "--dataset", str(folder)]
    assert main([*arguments, "--output", str(tmp_path / "report")]) == 1
    assert f"{shard}: wrong data checksum" in capsys.readouterr().err


def test_a_test_mixture_in_another_rate_is_refused(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {"type": "joint.tcn", "params": {"num_blocks": 1, "num_repeats": 1}}
    config = configuration("joint_tcn_mask_8k", sample_rate=16000, model=model)
    save_untrained(tmp_path / "model", config)
    arguments = ["--model_dir", str(tmp_path / "model"), "--dataset", str(make_dataset())]
    assert main([*arguments, "--output", str(tmp_path / "report")]) == 1
    assert "8000 Hz, but the configuration is for 16000 Hz" in capsys.readouterr().err
