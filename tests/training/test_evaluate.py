import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Configuration
from training.evaluate import IDEAL_RATIO_MASK, UNPROCESSED, main
from training.metrics import (
    best_permutation,
    ideal_ratio_mask,
    level_difference_db,
    measure,
    overlap_ratio,
    si_sdr_db,
)
from training.model_dir import Metrics, ModelDir, TrainingState

MakeDataset = Callable[..., Path]
MakeConfiguration = Callable[..., Configuration]


def noise(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def save_untrained(folder: Path, configuration: Configuration) -> None:
    model_dir = ModelDir(str(folder))
    model_dir.prepare(configuration)
    model_dir.save_best(TrainingState(configuration), Metrics(1, 0.0, 0.0, "ab" * 32))


def test_si_sdr_of_a_source_with_noise_is_their_ratio_whatever_the_scale() -> None:
    source = noise(1, 8000)
    disturbance = noise(1, 8000, seed=1)
    disturbance -= (disturbance @ source.T) / (source @ source.T) * source
    disturbance *= np.linalg.norm(source) / np.linalg.norm(disturbance) / 10
    assert si_sdr_db(5 * (source + disturbance), source)[0, 0] == pytest.approx(20, abs=1e-3)


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(-50, 50), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_the_best_permutation_is_the_best(pairwise: list[list[float]]) -> None:
    table = np.array(pairwise)
    slots = range(len(table))
    order = best_permutation(table)
    best = max(table[list(other), slots].sum() for other in itertools.permutations(slots))
    assert sorted(order) == list(slots)
    assert table[list(order), slots].sum() == pytest.approx(best)


def test_outputs_are_put_into_the_order_of_the_sources() -> None:
    sources = noise(3, 8000)
    measures, order = measure(sources[[2, 0, 1]], sources, sources.sum(axis=0), 8000)
    assert order == (1, 2, 0)
    assert measures["si_sdri_db"] > 60


@pytest.mark.parametrize(
    ("intervals_s", "expected"),
    [
        ([(0, 4), (4, 8)], 0.0),
        ([(0, 4), (0, 4)], 1.0),
        ([(0, 4), (2, 6)], 1 / 3),
        ([(0, 6), (1, 2), (1, 3)], 1 / 3),
        ([(0, 1), (3, 4)], 0.0),
    ],
)
def test_overlap_is_the_part_of_speech_in_which_two_speak(
    intervals_s: list[tuple[float, float]], expected: float
) -> None:
    assert overlap_ratio(intervals_s) == pytest.approx(expected)


def test_the_level_of_a_source_does_not_count_its_silence() -> None:
    sources = noise(2, 8000)
    sources[1, 4000:] = 0
    assert level_difference_db(sources) == pytest.approx(0, abs=0.3)
    sources[0] *= 2
    assert level_difference_db(sources) == pytest.approx(6, abs=0.3)


def test_the_ideal_ratio_mask_separates_what_does_not_overlap_in_frequency() -> None:
    time_s = np.arange(9001) / 8000
    sources = np.sin(2 * np.pi * np.array([[500], [1500]]) * time_s).astype(np.float32)
    separated = ideal_ratio_mask(sources, sources.sum(axis=0), 8000)
    assert separated.shape == sources.shape
    assert np.diag(si_sdr_db(separated, sources)).min() > 25


def test_models_and_bounds_stand_in_one_table(
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
    text = capsys.readouterr().out
    assert text == (tmp_path / "report/report.txt").read_text() + "\n"
    assert IDEAL_RATIO_MASK in text
    page = (tmp_path / "report/report.html").read_text()
    players = {part.split('"')[0] for part in page.split('src="')[1:]}
    assert len(players) == 4 * (1 + 4 * 2)
    for player in players:
        assert soundfile.info(tmp_path / "report" / player).samplerate == 8000


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
