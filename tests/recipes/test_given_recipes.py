"""Given recipes are rendered as they are: our own to the byte, LibriMix's to a step of 16 bits."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from beam_jobs import build_mixtures, verify_dataset
from beam_jobs.rendering.part_reader import extend_noise
from schemas.tfrecord import decode_example, read_records

RATE = 16_000


def write_voice(path: Path, num_samples: int, seed: int, channels: int = 1) -> None:
    """Writes white noise, which is loud at both ends, so that a wrong cut shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).normal(0, 0.1, (num_samples, channels))
    soundfile.write(path, samples.squeeze(), RATE, "PCM_16")


@pytest.fixture(scope="module")
def libri_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech") / "LibriSpeech"
    for number, num_samples in enumerate([20_001, 16_003, 24_007, 18_000, 40_011, 17_777]):
        speaker = 60 + number
        write_voice(root / f"dev-clean/{speaker}/7/{speaker}-7-0000.flac", num_samples, number)
        transcript = root / f"dev-clean/{speaker}/7/{speaker}-7.trans.txt"
        transcript.write_text(f"{speaker}-7-0000 I AM {speaker}\n" if speaker != 61 else "\xff")
    (root / "SPEAKERS.TXT").write_text("; ID | SEX\n60 | M | dev-clean\n61 | F | dev-clean\n")
    return root


@pytest.fixture(scope="module")
def wham(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("noise") / "wham_noise"
    write_voice(root / "cv/long.wav", 50_000, 100, channels=2)
    write_voice(root / "cv/short.wav", 17_001, 101, channels=2)
    return root


def write_metadata(path: Path, num_sources: int) -> list[dict[str, Any]]:
    rows = []
    for number, noise in enumerate(["long", "short"]):
        row: dict[str, Any] = {"mixture_ID": ""}
        for index in range(num_sources):
            speaker = 60 + 3 * number + index
            row["mixture_ID"] += ("_" if index else "") + f"{speaker}-7-0000"
            row[f"source_{index + 1}_path"] = f"dev-clean/{speaker}/7/{speaker}-7-0000.flac"
            row[f"source_{index + 1}_gain"] = 0.123456789 * (index + 1.3) + 0.1 * number
        row |= {"noise_path": f"cv/{noise}.wav", "noise_gain": 0.4321}
        rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def librimix_reference(
    row: dict[str, Any], speech: Path, noise_folder: Path, num_sources: int, rate: int, length: str
) -> list[np.ndarray]:
    """Makes a mixture as LibriMix documents: float32 gain, resample_poly from 16 kHz, min or max.

    Returns:
        The sources and then the noise, as float arrays of one length.
    """
    signals = []
    for number in range(1, num_sources + 1):
        samples, _ = soundfile.read(speech / row[f"source_{number}_path"], dtype="float32")
        signals.append(samples * np.float32(row[f"source_{number}_gain"]))
    longest = max(map(len, signals))
    noise, _ = soundfile.read(noise_folder / row["noise_path"], dtype="float32", stop=longest)
    noise = noise[:, 0]
    fade_out = np.hanning(RATE + 1)[RATE // 2 :]
    extended = noise
    while len(extended) < longest:
        joint = extended[-8001:] * fade_out + noise[:8001] * fade_out[::-1]
        extended = np.concatenate([extended[:-8001], joint, noise[8001:]])
    signals.append(extended[:longest] * np.float32(row["noise_gain"]))
    resampled = [resample_poly(signal, rate, RATE) for signal in signals]
    lengths = list(map(len, resampled))
    if length == "min":
        return [signal[: min(lengths)] for signal in resampled]
    return [np.pad(signal, (0, max(lengths) - len(signal))) for signal in resampled]


def as_written(samples: np.ndarray, path: Path) -> np.ndarray:
    """Returns samples as a 16-bit WAV file stores them."""
    soundfile.write(path, samples, 8000, "PCM_16")
    return soundfile.read(path, dtype="int16")[0].astype(int)


def build(output: Path, *arguments: object) -> int:
    return build_mixtures.main(
        [f"--output={output}", "--direct_num_workers=1", *map(str, arguments)]
    )


def read_dataset(folder: Path) -> dict[str, dict[str, Any]]:
    mixtures = {}
    for path in sorted(folder.glob("*.tfrecord-*")):
        with path.open("rb") as file:
            for record in read_records(file):
                features = decode_example(record)
                audio = {
                    name: np.frombuffer(features[name][0], np.int16).astype(int)
                    for name in ("mixture", "sources", "noise")
                    if name in features
                }
                mixtures[features["id"][0].decode()] = audio | {
                    "recipe": json.loads(features["recipe"][0])
                }
    return mixtures


@pytest.mark.parametrize(
    ("num_sources", "rate", "length", "noisy"),
    [
        (2, 8000, "min", False),
        (3, 16_000, "max", True),
        (3, 8000, "max", True),
        (2, 8000, "min", True),
        (2, 16_000, "min", False),
        (3, 16_000, "min", False),
        (3, 8000, "max", False),
    ],
)
def test_librimix_is_what_its_own_script_writes(
    tmp_path: Path,
    libri_speech: Path,
    wham: Path,
    num_sources: int,
    rate: int,
    length: str,
    noisy: bool,
) -> None:
    metadata = tmp_path / f"libri{num_sources}mix_dev-clean.csv"
    rows = write_metadata(metadata, num_sources)
    options = [f"--corpus={libri_speech}", f"--recipes={metadata}", f"--sample_rate={rate}"]
    if noisy:
        options.append(f"--noise={wham}")
    output = tmp_path / "dataset"
    assert build(output, *options, f"--length={length}") == 0
    mixtures = read_dataset(output)
    assert set(mixtures) == {row["mixture_ID"] for row in rows}
    for row in rows:
        mixture = mixtures[row["mixture_ID"]]
        parts = librimix_reference(row, libri_speech, wham, num_sources, rate, length)
        if not noisy:
            parts.pop()
        got = [*mixture["sources"].reshape(num_sources, -1), *([mixture["noise"]] if noisy else [])]
        for part, own in zip(parts, got, strict=True):
            assert np.abs(as_written(part, tmp_path / "part.wav") - own).max() <= 1
        expected = as_written(np.sum(parts, axis=0), tmp_path / "mixture.wav")
        assert np.abs(expected - mixture["mixture"]).max() <= 1
        np.testing.assert_array_equal(np.sum(got, axis=0), mixture["mixture"])
        assert mixture["recipe"]["split"] == "validation"
    assert verify_dataset.main([f"--dataset={output}"]) == 0


def test_libri2mix_and_libri3mix_together_have_silent_rows(
    tmp_path: Path, libri_speech: Path
) -> None:
    for num_sources in (2, 3):
        write_metadata(tmp_path / f"libri{num_sources}mix_dev-clean.csv", num_sources)
    output = tmp_path / "dataset"
    metadata = tmp_path / "libri*.csv"
    assert build(output, f"--corpus={libri_speech}", f"--recipes={metadata}") == 0
    mixtures = read_dataset(output)
    assert len(mixtures) == 4
    for name, mixture in mixtures.items():
        own = mixture["sources"].reshape(3, -1).any(axis=1)
        assert own.tolist() == [True, True, len(name.split("_")) == 3]
    assert verify_dataset.main([f"--dataset={output}"]) == 0


def test_librimix_without_its_noise_is_the_clean_task_and_that_is_said(
    tmp_path: Path, libri_speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = tmp_path / "libri2mix_dev-clean.csv"
    write_metadata(metadata, 2)
    output = tmp_path / "dataset"
    assert build(output, f"--corpus={libri_speech}", f"--recipes={metadata}") == 0
    assert "LibriMix's metadata, without noise" in capsys.readouterr().out
    sources = read_dataset(output)["60-7-0000_61-7-0000"]["recipe"]["sources"]
    assert [source["gender"] for source in sources] == ["m", "f"]
    assert [source["speaker"] for source in sources] == ["60", "61"]
    # What LibriSpeech has no transcript of goes without.
    assert [source.get("text") for source in sources] == ["I AM 60", None]


def test_a_noise_is_repeated_without_a_seam() -> None:
    samples = np.ones(20_000, np.float32)
    extended = extend_noise(samples, 100_000, 8000)
    assert len(extended) == 100_000
    np.testing.assert_allclose(extended, 1, atol=1e-6)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, libri_speech: Path) -> Path:
    output = tmp_path_factory.mktemp("drawn") / "dataset"
    arguments = ["--splits=train=1", "--num_mixtures=24", "--num_shards=3", "--sample_rate=8000"]
    assert build(output, f"--corpus={libri_speech}", "--recipe=librimix", *arguments) == 0
    return output


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord-*")}


def test_a_dataset_is_rendered_again_byte_by_byte_from_its_recipes(
    tmp_path: Path, libri_speech: Path, drawn: Path
) -> None:
    output = tmp_path / "dataset"
    recipes = drawn / "recipes/*.jsonl"
    arguments = [f"--corpus={libri_speech}", f"--recipes={recipes}"]
    assert build(output, *arguments, "--num_shards=3") == 0
    assert shard_bytes(output) == shard_bytes(drawn)


def test_another_sample_rate_renders_the_same_mixtures_at_it(
    tmp_path: Path, libri_speech: Path, drawn: Path
) -> None:
    output = tmp_path / "dataset"
    arguments = [f"--corpus={libri_speech}", f"--recipes={drawn / 'recipes/*.jsonl'}"]
    assert build(output, *arguments, "--sample_rate=16000", "--num_shards=2") == 0
    before, after = read_dataset(drawn), read_dataset(output)
    assert list(before) == list(after)
    for name, mixture in after.items():
        assert len(mixture["mixture"]) == 2 * len(before[name]["mixture"])
        assert mixture["recipe"]["sample_rate"] == 16_000


class TestMissing:
    def corpus_without(self, libri_speech: Path, tmp_path: Path, speakers: Sequence[int]) -> Path:
        root = tmp_path / "LibriSpeech"
        for path in libri_speech.rglob("*.flac"):
            if int(path.parts[-3]) not in speakers:
                copied = root / path.relative_to(libri_speech)
                copied.parent.mkdir(parents=True)
                copied.write_bytes(path.read_bytes())
        return root

    def test_each_missing_name_is_listed(
        self,
        tmp_path: Path,
        libri_speech: Path,
        drawn: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        corpus = self.corpus_without(libri_speech, tmp_path, [61, 63])
        output = tmp_path / "dataset"
        recipes = f"--recipes={drawn / 'recipes/*.jsonl'}"
        assert build(output, f"--corpus={corpus}", recipes) == 1
        message = capsys.readouterr().err.splitlines()[-1]
        for speaker in (61, 63):
            assert f"dev-clean/{speaker}/7/{speaker}-7-0000.flac" in message
        assert "--skip_missing_recipes" in message
        assert not list(output.glob("*.tfrecord-*"))

    def test_the_rest_is_rendered_on_demand(
        self, tmp_path: Path, libri_speech: Path, drawn: Path
    ) -> None:
        corpus = self.corpus_without(libri_speech, tmp_path, [61])
        output = tmp_path / "dataset"
        recipes = f"--recipes={drawn / 'recipes/*.jsonl'}"
        assert build(output, f"--corpus={corpus}", recipes, "--skip_missing_recipes") == 3
        whole, rest = read_dataset(drawn), read_dataset(output)
        expected = {
            name
            for name, mixture in whole.items()
            if "61" not in [source["speaker"] for source in mixture["recipe"]["sources"]]
        }
        assert set(rest) == expected
        quality = json.loads((output / "quality.json").read_text())
        assert quality["checks"]["missing_mixtures"] == len(whole) - len(expected) > 0

    def test_a_file_that_can_not_be_decoded_is_named_and_the_rest_rendered_on_demand(
        self,
        tmp_path: Path,
        libri_speech: Path,
        drawn: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        corpus = self.corpus_without(libri_speech, tmp_path, [])
        broken = corpus / "dev-clean/61/7/61-7-0000.flac"
        broken.write_bytes(broken.read_bytes()[:-8000])
        arguments = [f"--corpus={corpus}", f"--recipes={drawn / 'recipes/*.jsonl'}"]
        assert build(tmp_path / "dataset", *arguments) == 1
        assert "can't be decoded: dev-clean/61/7/61-7-0000.flac" in capsys.readouterr().err
        assert build(tmp_path / "rest", *arguments, "--skip_missing_recipes") == 3
        speakers = {
            source["speaker"]
            for mixture in read_dataset(tmp_path / "rest").values()
            for source in mixture["recipe"]["sources"]
        }
        assert speakers == {"60", "62", "63", "64", "65"}

    def test_a_line_that_is_no_recipe_is_named(
        self,
        tmp_path: Path,
        libri_speech: Path,
        drawn: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (original,) = drawn.glob("recipes/train-00000-*.jsonl")
        mine = tmp_path / "mine.jsonl"
        lines = original.read_text().splitlines()
        bad = json.loads(lines[1])
        del bad["sources"][0]["path"]
        mine.write_text("\n".join([lines[0], "{", json.dumps(bad), lines[2]]))
        output = tmp_path / "dataset"
        assert build(output, f"--corpus={libri_speech}", f"--recipes={mine}") == 1
        message = capsys.readouterr().err
        assert f"{mine}:2: not JSON" in message
        assert f"{mine}:3: " in message
        assert "'path' is a required property" in message

    def test_a_corpus_of_another_name_is_said(
        self, tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = tmp_path / "Other"
        write_voice(other / "a/a.wav", 8000, 1)
        output = tmp_path / "dataset"
        recipes = f"--recipes={drawn / 'recipes/*.jsonl'}"
        assert build(output, f"--corpus={other}", recipes) == 1
        assert "of the corpus 'LibriSpeech', where there is Other" in capsys.readouterr().err


def test_a_length_that_recipes_can_not_have_is_said(
    tmp_path: Path, libri_speech: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = tmp_path / "libri2mix_dev-clean.csv"
    write_metadata(metadata, 2)
    for recipes, length, message in (
        (metadata, "3", "--length=3: LibriMix has min and max"),
        (drawn / "recipes/*.jsonl", "min", "--length=min: recipes have their own length"),
    ):
        output = tmp_path / "dataset"
        arguments = [f"--corpus={libri_speech}", f"--recipes={recipes}", f"--length={length}"]
        assert build(output, *arguments) == 1
        assert message in capsys.readouterr().err
        assert not output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--skip_missing_recipes"], "--skip_missing_recipes has no effect without --recipes"),
        (["--recipes=x.csv", "--num_mixtures=3"], "--num_mixtures is for recipes that are drawn"),
        (["--recipes=nowhere.csv"], "--recipes=nowhere.csv: no such file"),
        (["--recipes=/"], "--recipes=/: a folder: name the files in it"),
        (["--recipes=README.md"], "--recipes=README.md: not recipes"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_written(
    tmp_path: Path,
    libri_speech: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "dataset"
    assert build(output, f"--corpus={libri_speech}", *options) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()
