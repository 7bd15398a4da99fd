"""A path that can't be what an option asks for is one line that names it, before any work."""

import importlib

import pytest
from read_only import read_only
from small_datasets import build, write_corpus, write_recipe

from beam_jobs import build_mixtures, score_separation, verify_dataset
from schemas.ledger import LEDGER

A_FOLDER = "a folder, where a file should be: name the file in it"


def complaint(capsys, main, *argv):
    """Runs a command that fails, and returns its only line."""
    capsys.readouterr()
    assert main(list(map(str, argv))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line.partition(": ")[2]


def test_a_folder_where_a_recipe_should_be(corpus, tmp_path, capsys):
    options = [f"--corpus={corpus}", f"--output={tmp_path / 'out'}"]
    line = complaint(capsys, build_mixtures.main, *options, f"--recipe={corpus}")
    assert line == f"{corpus}: {A_FOLDER}"


def test_a_folder_in_the_place_of_a_datasets_description(tmp_path, capsys):
    (tmp_path / "COMPLETED").touch()
    (tmp_path / "dataset.json").mkdir()
    line = complaint(capsys, verify_dataset.main, f"--dataset={tmp_path}")
    assert line == f"{tmp_path}/dataset.json: {A_FOLDER}"


def test_a_folder_where_the_report_on_damage_should_be(corpus, recipe, tmp_path, capsys):
    options = [f"--recipe={recipe}", "--splits=train=1"]
    built = build(*options, corpus=corpus, output=tmp_path / "out")
    options = [f"--dataset={built.folder}", f"--report={tmp_path}"]
    line = complaint(capsys, verify_dataset.main, *options)
    assert line == f"--report={tmp_path}: a folder: name a file in it"


def test_a_file_where_a_folder_of_references_should_be(tmp_path, capsys):
    (tmp_path / LEDGER).mkdir()
    file = tmp_path / "truth.txt"
    file.touch()
    options = [f"--separated={tmp_path}", f"--output={tmp_path / 'report'}"]
    line = complaint(capsys, score_separation.main, *options, f"--references={file}")
    assert line == f"--references={file}: a file: name the folder it is in"
    line = complaint(capsys, score_separation.main, *options, f"--reference_rttm={file}")
    assert line == (
        f"--reference_rttm={file}: a file with the turns of all recordings has a name in .rttm:"
        " rename it"
    )


@pytest.mark.parametrize(
    ("module", "option"),
    [
        ("beam_jobs.build_mixtures", "--output"),
        ("beam_jobs.export_audio", "--dataset"),
        ("beam_jobs.fit_conversation", "--rttm"),
        ("beam_jobs.score_separation", "--separated"),
        ("beam_jobs.separate_archive", "--input"),
        ("training.export", "--model_dir"),
        ("training.voices.speech", "--output"),
    ],
)
def test_an_empty_path_is_not_the_folder_of_the_shell(
    module, option, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(module).main
    for argv in ([f"{option}="], [option, ""]):
        line = complaint(capsys, main, *argv)
        assert line == f"{option} is empty: is a variable in it not set?"
    assert not list(tmp_path.iterdir())


def test_what_the_user_has_no_right_to_is_said(shared_path, capsys):
    corpus, noise = write_corpus(shared_path / "corpus"), shared_path / "noise"
    secret, dataset = shared_path / "secret.json", shared_path / "dataset"
    recipe = write_recipe(shared_path / "recipe.json", noise={"snr_db": 10})
    write_recipe(secret)
    for path in (noise, dataset):
        path.mkdir()
    for path in (noise, dataset, secret):
        path.chmod(0)
    options = [f"--corpus={corpus}", f"--output={shared_path / 'out'}"]
    with read_only(corpus):
        for path, argv, main in (
            (noise, [*options, f"--recipe={recipe}", f"--noise={noise}"], build_mixtures.main),
            (secret, [*options, f"--recipe={secret}"], build_mixtures.main),
            (dataset / "COMPLETED", [f"--dataset={dataset}"], verify_dataset.main),
        ):
            assert complaint(capsys, main, *argv) == (
                f"{path}: permission denied: give the user who runs this the right to it"
            )
