"""Damage to a dataset is found, and the damaged file named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from beam_jobs import build_mixtures, verify_dataset
from beam_jobs.dataset import verification
from beam_jobs.dataset.reading import open_dataset
from beam_jobs.dataset.verification import verify_files, verify_shard
from schemas.validation import InvalidDocumentError

RATE = 8000


@pytest.fixture(scope="module", params=["", "--gzip"])
def sound(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    corpus = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for number in range(12):
        path = corpus / f"speaker{number % 4}" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, generator.normal(0, 0.05, RATE // 4), RATE)
    (corpus / "speaker0/broken.wav").touch()
    output = tmp_path_factory.mktemp("sound") / "dataset"
    arguments = [f"--corpus={corpus}", f"--output={output}", "--splits=train=1", "--num_shards=2"]
    arguments.append("--direct_num_workers=1")
    if request.param:
        arguments.append(request.param)
    assert build_mixtures.main([*arguments, "--sample_rate=8000"]) == 3
    return output


@pytest.fixture
def copied(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "dataset"))


def damaged_paths(folder: Path) -> set[str]:
    """Finds the damage as the job does, without a pipeline."""
    try:
        described = open_dataset(str(folder))
    except InvalidDocumentError as error:
        return {Path(str(error).partition(":")[0]).name}
    damages = list(verify_files(str(folder), described))
    for info in described.shards:
        damages += verify_shard(str(folder), described, info)
    return {damage.path for damage in damages}


def all_files(folder: Path) -> list[Path]:
    """Returns the files of a dataset, except for the card, which people complete."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")


def test_a_copied_dataset_is_sound(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = all_files(copied)
    assert verify_dataset.main([f"--dataset={copied}"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("sound: 6 mixtures in 2 shards")
    assert captured.err.startswith("100% 6/6 mixtures, 0.01 h of audio, 0 damaged, ")
    assert all_files(copied) == before


def test_one_wrong_bit_anywhere_is_found_and_its_file_named(copied: Path) -> None:
    generator = np.random.default_rng(1)
    for path in all_files(copied):
        content = path.read_bytes()
        for _ in range(8):
            position, bit = int(generator.integers(len(content))), int(generator.integers(8))
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            path.write_bytes(bytes(changed))
            found = damaged_paths(copied)
            # The description of the dataset and its seal tell only together that one is wrong.
            name = str(path.relative_to(copied))
            expected = (
                {"COMPLETED", "dataset.json"} if name in ("COMPLETED", "dataset.json") else {name}
            )
            assert found & expected, (name, position, bit, found)
            path.write_bytes(content)
    assert not damaged_paths(copied)


@pytest.mark.parametrize("lost", [0, 1, 100])
def test_a_file_cut_short_or_gone_is_named(copied: Path, lost: int) -> None:
    for path in all_files(copied):
        name = str(path.relative_to(copied))
        if name in ("COMPLETED", "dataset.json"):
            continue
        content = path.read_bytes()
        if lost:
            path.write_bytes(content[:-lost])
        else:
            path.unlink()
        assert name in damaged_paths(copied)
        path.write_bytes(content)


def test_the_damage_is_printed_and_kept(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard, *_ = copied.glob("*.tfrecord-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert verify_dataset.main([f"--dataset={copied}"]) == 1
    output = capsys.readouterr().out
    assert f"{shard.name}: its checksum is not the one in dataset.json" in output
    report = [json.loads(line) for line in (copied / "damage.jsonl").read_text().splitlines()]
    assert {one["path"] for one in report} == {shard.name}


def test_an_unfinished_dataset_is_an_error(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "COMPLETED").unlink()
    assert verify_dataset.main([f"--dataset={copied}"]) == 1
    assert f"{copied}: no COMPLETED" in capsys.readouterr().err


def test_a_mixture_that_is_not_the_sum_of_its_sources_is_found(copied: Path) -> None:
    described = open_dataset(str(copied))
    recipe_line = next(iter(sorted((copied / "recipes").iterdir()))).read_text().splitlines()[0]
    recipe = json.loads(recipe_line)
    num_samples = round(recipe["duration_s"] * recipe["sample_rate"])
    sources = np.ones((2, num_samples), np.int16)
    features = {
        "id": [recipe["id"].encode()],
        "recipe": [recipe_line.encode()],
        "sample_rate": [RATE],
        "sources": [sources.tobytes()],
        "mixture": [np.full(num_samples, 2, np.int16).tobytes()],
    }
    assert not list(verification.check_record(features, described))
    features["mixture"] = [np.full(num_samples, 3, np.int16).tobytes()]
    assert list(verification.check_record(features, described)) == [
        "its mixture is not the sum of its parts"
    ]
