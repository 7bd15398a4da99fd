"""Stems in the CSVs of Spleeter become a dataset with the mixtures that are given."""

import csv
import json

import numpy as np
import pytest
import soundfile
from exports import stored
from optional import needs_tensorflow
from small_datasets import build
from stems import RATE, noise, write_csv, write_song

from beam_jobs import verify_dataset
from beam_jobs.dataset.reading import open_dataset


@pytest.fixture
def corpus(tmp_path):
    return tmp_path / "stems"


def build_stems(corpus, output, *arguments, pattern="*.csv"):
    return build(f"--recipes={corpus / pattern}", *arguments, corpus=corpus, output=output)


class TestStereo:
    @pytest.fixture(scope="class")
    @classmethod
    def songs(cls, tmp_path_factory):
        """Writes two songs to train with, one of them mastered after mixing, and one to test."""
        corpus = tmp_path_factory.mktemp("corpus") / "stems"
        vocals, drums = noise(1), noise(2)
        loud = np.clip(2 * (vocals.astype(int) + drums), -32768, 32767).astype(np.int16)
        loud[7] = -32768, 32767
        tracks = {
            "train/exact": write_song(corpus / "train/exact", {"vocals": vocals, "drums": drums}),
            "train/loud": write_song(
                corpus / "train/loud", {"mix": loud, "vocals": vocals, "drums": drums}
            ),
            "test/silent": write_song(
                corpus / "test/silent", {"vocals": 0 * vocals, "drums": noise(3)}
            ),
        }
        write_csv(corpus / "my_train.csv", ["train/exact", "train/loud"])
        write_csv(corpus / "my_test.csv", ["test/silent"])
        return corpus, tracks

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, songs, tmp_path_factory):
        corpus, _ = songs
        return build_stems(corpus, tmp_path_factory.mktemp("built") / "dataset")

    def test_every_sample_of_every_file_is_as_it_was(self, songs, built):
        assert built.status == 0
        mixtures = stored(built.folder)
        for path, tracks in songs[1].items():
            mixture = mixtures[f"{path}/mix".replace("/", "_")]
            np.testing.assert_array_equal(mixture.mixture, tracks["mix"])
            np.testing.assert_array_equal(mixture.sources[0], tracks["vocals"])
            np.testing.assert_array_equal(mixture.sources[1], tracks["drums"])

    def test_instruments_stand_where_speakers_do(self, built):
        for recipe in built.recipes():
            assert [source.speaker for source in recipe.sources] == ["vocals", "drums"]
        assert "Given mixtures: Spleeter's training CSV, of vocals, drums." in built.printed

    def test_the_name_of_a_csv_gives_the_split(self, built):
        assert {recipe.id: recipe.split for recipe in built.recipes()} == {
            "train_exact_mix": "train",
            "train_loud_mix": "train",
            "test_silent_mix": "test",
        }

    def test_the_report_says_how_far_a_mixture_is_from_the_sum(self, songs, built):
        tracks = songs[1]["train/loud"]
        left = tracks["mix"].astype(float) - tracks["vocals"] - tracks["drums"]
        expected_db = 10 * np.log10(np.sum(left**2) / np.sum(tracks["mix"].astype(float) ** 2))
        given = built.quality["given_mixtures"]
        assert given["exact"] == 2
        assert given["worst"] == [
            {"id": "train_loud_mix", "residual_db": pytest.approx(expected_db, abs=0.01)}
        ]
        assert built.quality["histograms"]["residual_db"]["num"] == 1
        report = (built.folder / "report.html").read_text()
        assert "2 of 3 are the sum of their sources to the last bit" in report
        assert f"{expected_db:.1f} dB" in report

    def test_silence_and_full_scale_are_no_faults_of_stems(self, built):
        assert built.quality["given_mixtures"]["silent_sources"] == 1
        assert built.quality["given_mixtures"]["full_scale_samples"] > 0
        assert built.quality["checks"] == {"stems_in_two_splits": 0, "missing_mixtures": 0}

    @needs_tensorflow
    def test_tensorflow_datasets_reads_two_channels(self, songs, built):
        import tensorflow_datasets as tfds  # noqa: PLC0415

        examples = tfds.as_numpy(
            tfds.builder_from_directory(str(built.folder)).as_dataset(split="test")
        )
        (example,) = examples
        tracks = songs[1]["test/silent"]
        np.testing.assert_array_equal(example["mixture"], tracks["mix"])
        np.testing.assert_array_equal(example["sources"], [tracks["vocals"], tracks["drums"]])

    def test_a_copy_is_verified_without_the_sum_and_that_is_said(self, built, capsys):
        assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
        assert "given, and need not be the sums of their sources" in capsys.readouterr().out

    def test_the_dataset_is_rendered_again_from_its_recipes(self, songs, built, tmp_path):
        recipes = f"--recipes={built.folder / 'recipes/*.jsonl'}"
        again = build(recipes, corpus=songs[0], output=tmp_path / "dataset")
        assert again.status == 0
        assert again.digests == built.digests
        described = open_dataset(str(again.folder))
        assert described.instruments == ("vocals", "drums")
        assert described.mixture_given


def test_mono_stems_are_as_any_other_mono_dataset(corpus, tmp_path):
    instruments = ("a", "b", "c", "d", "e")
    tracks = write_song(corpus / "one", {name: noise(ord(name), channels=1) for name in "abcde"})
    write_csv(corpus / "stems.csv", ["one"], instruments=instruments)
    built = build_stems(corpus, tmp_path / "dataset")
    (example,) = built.examples("train")
    mixture = np.frombuffer(example["mixture"][0], np.int16)
    np.testing.assert_array_equal(mixture, tracks["mix"][:, 0])
    features = json.loads((built.folder / "features.json").read_text())
    shape = features["featuresDict"]["features"]["sources"]["tensor"]["shape"]
    assert shape == {"dimensions": ["5", "-1"]}


def test_absolute_paths_and_another_sample_rate(corpus, tmp_path):
    write_song(corpus / "one", {"vocals": noise(1), "drums": noise(2)})
    path = write_csv(corpus / "stems.csv", ["one"])
    path.write_text("\ufeff" + path.read_text().replace("one/", f"{corpus}/one/"))
    built = build_stems(corpus, tmp_path / "dataset", "--sample_rate=16000")
    ((name, mixture),) = stored(built.folder).items()
    assert name == "one_mix"
    assert mixture.mixture.shape == (2 * RATE, 2)
    # Each file is resampled and rounded on its own.
    left = mixture.mixture - mixture.sources.sum(axis=0)
    assert np.abs(left).max() <= 1


def test_a_length_cuts_songs_into_pieces_and_loses_nothing(corpus, tmp_path):
    num_frames = 3 * RATE + 1234
    stems = {name: noise(len(name), num_frames=num_frames) for name in ("vocals", "drums")}
    tracks = write_song(corpus / "song", stems)
    write_csv(corpus / "train.csv", ["song"], duration=num_frames / RATE)
    built = build_stems(corpus, tmp_path / "dataset", "--length=0.8")
    mixtures = stored(built.folder)
    assert list(mixtures) == ["song_mix_000", "song_mix_001", "song_mix_002", "song_mix_003"]
    assert {len(mixture.mixture) for mixture in mixtures.values()} <= {6308, 6309}
    joined = np.concatenate([mixture.sources for mixture in mixtures.values()], axis=1)
    np.testing.assert_array_equal(joined, [tracks["vocals"], tracks["drums"]])
    joined = np.concatenate([mixture.mixture for mixture in mixtures.values()])
    np.testing.assert_array_equal(joined, tracks["mix"])


def test_one_file_may_be_one_instrument_here_and_another_there(corpus, tmp_path):
    voices = {"first": noise(1), "second": noise(2)}
    write_song(corpus / "one", voices)
    with (corpus / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mix_path", "first_path", "second_path", "duration"])
        writer.writerow(["one/mix.wav", "one/first.wav", "one/second.wav", 1])
        writer.writerow(["one/mix.wav", "one/second.wav", "one/first.wav", 1])
    built = build_stems(corpus, tmp_path / "dataset")
    speakers = [[source.speaker for source in recipe.sources] for recipe in built.recipes()]
    assert speakers == [["first", "second"]] * 2
    assert [recipe.id for recipe in built.recipes()] == ["one_mix", "one_mix_row2"]


class TestBadRows:
    @pytest.fixture
    def good(self, corpus):
        write_song(corpus / "good", {"vocals": noise(1), "drums": noise(2)})
        return write_csv(corpus / "train.csv", ["good"])

    def test_bad_rows_are_all_named_and_the_rest_rendered_on_demand(self, corpus, good, tmp_path):
        rows = {
            "gone/mix.wav,gone/vocals.wav,good/drums.wav,1": "gone/vocals.wav: no such file",
            "good/mix.wav,good/vocals.wav,,1": "train.csv:4: no 'drums_path'",
            "good/mix.wav,good/vocals.wav,1": "train.csv:5: 3 fields where 4 belong",
            "good/mix.wav,good/vocals.wav,good/drums.wav,long": (
                "train.csv:6: 'duration' is not a number of seconds: 'long'"
            ),
            "good/mix.wav,good/vocals.wav,good/drums.wav,0": "train.csv:7: a duration of 0 s",
            "/far/mix.wav,good/vocals.wav,good/drums.wav,1": "train.csv:8: /far/mix.wav: not in",
        }
        good.write_text(good.read_text() + "".join(f"{row}\n" for row in rows))
        failed = build_stems(corpus, tmp_path / "dataset")
        assert failed.status == 1
        for message in rows.values():
            assert message in failed.last_line
        rest = build_stems(corpus, tmp_path / "rest", "--skip_missing_recipes")
        assert rest.status == 3
        assert rest.num_mixtures == 1

    @pytest.mark.parametrize(
        ("samples", "rate", "message"),
        [
            (noise(1, num_frames=2 * RATE), 2 * RATE, "16000 Hz where its mixture"),
            (noise(1, num_frames=RATE - 1), RATE, "7999 frames where its mixture"),
            (noise(1, channels=1), RATE, "1 channels where its mixture"),
        ],
    )
    def test_a_stem_that_is_not_like_its_mixture_is_named(
        self, corpus, good, tmp_path, samples, rate, message
    ):
        write_song(corpus / "odd", {"vocals": noise(1), "drums": noise(2)})
        soundfile.write(corpus / "odd/vocals.wav", samples, rate)
        write_csv(good, ["good", "odd"])
        failed = build_stems(corpus, tmp_path / "dataset", "--num_shards=1")
        assert failed.status == 1
        assert f"odd/vocals.wav: {message} odd/mix.wav has" in failed.complaints.splitlines()[-1]

    def test_a_duration_that_gives_a_wrong_number_of_pieces_is_said(self, corpus, good, tmp_path):
        write_csv(good, ["good"], duration=7.5)
        failed = build_stems(corpus, tmp_path / "dataset", "--num_shards=1", "--length=0.5")
        assert failed.status == 1
        assert "good/mix.wav: 1.0 s where 'duration' says 7.5" in failed.complaints

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("vocals_path,drums_path,duration", "without mix_path in its header"),
            ("mix_path,vocals_path,drums_path", "without duration in its header"),
            ("mix_path,duration", "0 instruments: a mixture has 1 to 10"),
        ],
    )
    def test_a_header_that_lacks_something_is_said(self, corpus, good, tmp_path, header, message):
        good.write_text(header + "\n")
        failed = build_stems(corpus, tmp_path / "dataset")
        assert failed.status == 1
        assert message in failed.last_line
        assert not (tmp_path / "dataset").exists()

    @pytest.mark.usefixtures("good")
    def test_other_instruments_in_another_csv_are_said(self, corpus, tmp_path):
        write_song(corpus / "other", {"vocals": noise(1), "bass": noise(2)})
        write_csv(corpus / "validation.csv", ["other"], instruments=["vocals", "bass"])
        failed = build_stems(corpus, tmp_path / "dataset")
        assert failed.status == 1
        assert "vocals, bass where the first recipe has vocals, drums" in failed.last_line
