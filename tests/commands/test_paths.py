"""A tilde is the user's folder in every option, which shells put only into words of their own."""

import pytest
import soundfile
from small_datasets import SAMPLE_RATE, build, voice, write_corpus, write_recipe

from beam_jobs import export_audio, verify_dataset


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's folder, with speech, noise and recipes; the job runs in another one."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_corpus(home / "speech", num_speakers=4)
    (home / "noise").mkdir()
    for number in range(3):
        soundfile.write(home / "noise" / f"{number}.wav", voice(500 + number, 3.0), SAMPLE_RATE)
    write_recipe(home / "recipe.json", noise={"snr_db": 10})
    yield home
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_tilde_is_the_users_folder_in_every_option(home):
    built = build(
        "--noise=~/noise",
        "--recipe=~/recipe.json",
        "--catalogue=~/kept",
        "--splits=train=1",
        corpus="~/speech",
        output="~/mixtures",
    )
    assert built.status == 0
    assert (home / "mixtures" / "COMPLETED").exists()
    assert (home / "kept" / "catalogue.arrow").exists()
    assert verify_dataset.main(["--dataset=~/mixtures", "--report=~/damage.jsonl"]) == 0
    export = ["--dataset=~/mixtures", "--output=~/audio", "--layout=folders"]
    assert export_audio.main(export) == 0
    assert (home / "audio" / "COMPLETED").exists()


def test_a_tilde_is_the_users_folder_in_patterns_and_in_given_recipes(home):
    drawn = build(
        "--noise=~/noise",
        "--recipe=~/recipe.json",
        "--recipes_only",
        r"--speaker_regex=([^/]+)/[^/]*$",
        corpus="~/speech/*/*.flac",
        output="~/drawn",
    )
    assert drawn.status == 0
    given = build(
        "--noise=~/noise", "--recipes=~/drawn/recipes/*.jsonl", corpus="~/speech", output="~/given"
    )
    assert given.status == 0
    assert (home / "given" / "COMPLETED").exists()
