"""Output folders that can't be written, or that belong to somebody else."""

import contextlib
import io
import shutil
from pathlib import Path

import pytest
from read_only import full_disk, read_only
from small_datasets import build, shard_digests, write_corpus, write_recipe

from beam_jobs import build_mixtures, export_audio, verify_dataset

IN_THIS_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A dataset."""
    folder = tmp_path_factory.mktemp("built")
    return build(
        f"--recipe={write_recipe(folder / 'recipe.json')}",
        "--splits=train=1",
        "--num_shards=2",
        corpus=write_corpus(folder / "corpus", num_speakers=4),
        output=folder / "mixtures",
    )


@pytest.fixture
def speech(shared_path):
    return write_corpus(shared_path / "speech", num_speakers=4)


def command(main, *argv):
    """Returns the exit status, the standard output and the standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*map(str, argv), *IN_THIS_PROCESS])
    return status, out.getvalue(), err.getvalue()


def build_into(output, corpus, recipe, *arguments):
    return command(
        build_mixtures.main,
        f"--corpus={corpus}",
        f"--output={output}",
        f"--recipe={recipe}",
        *arguments,
    )


def export_into(output, dataset):
    return command(
        export_audio.main, f"--dataset={dataset}", f"--output={output}", "--layout=folders"
    )


@pytest.mark.parametrize(
    ("below", "more"),
    [("", ()), ("mixtures", ("--dry_run",)), ("a/b/1.0.0", ("--overwrite",))],
)
def test_a_read_only_output_is_one_line_before_any_work(speech, shared_path, more, below):
    recipe = write_recipe(shared_path / "recipe.json")
    with read_only(shared_path):
        status, out, err = build_into(shared_path / "disk" / below, speech, recipe, *more)
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"build_mixtures: {shared_path / 'disk' / below}".rstrip("/"))
    assert line.endswith(
        "can't be written: Permission denied: name another --output, or make room there"
    )
    assert {path.name for path in shared_path.iterdir()} == {"speech", "recipe.json"}


def test_a_full_disk_is_one_line_before_any_work(speech, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.json")
    with full_disk():
        status, out, err = build_into(tmp_path / "out", speech, recipe)
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert f"{tmp_path / 'out'}: can't be written: File too large: name another --output" in line
    assert not (tmp_path / "out" / "job.json").exists()


def test_a_disk_that_is_full_since_the_job_began_is_one_line(built, tmp_path):
    folder = Path(shutil.copytree(built.folder, tmp_path / "mixtures"))
    (folder / "COMPLETED").unlink()
    corpus, recipe = built.folder.parent / "corpus", built.folder.parent / "recipe.json"
    with full_disk():
        status, _, err = build_into(folder, corpus, recipe, "--splits=train=1", "--num_shards=2")
    assert status == 1
    (line,) = err.splitlines()
    assert f"{folder}: can't be written: File too large" in line


def test_recipes_that_fill_up_a_disk_are_one_line(corpus, recipe, tmp_path, capfd):
    options = ("--splits=train=1", "--num_shards=2", "--num_mixtures=100", "--recipes_only")
    with full_disk(16384):
        status, out, err = build_into(tmp_path / "out", corpus, recipe, *options)
    assert (status, out) == (1, "")
    line = err.splitlines()[-1]
    assert line.startswith(f"build_mixtures: {tmp_path / 'out'}/recipes/train-")
    assert line.endswith(
        ": can't be written: File too large. What is finished is kept: make room there and start"
        " the same command again, or name another --output"
    )
    assert "Traceback" not in err + capfd.readouterr().err
    assert build_into(tmp_path / "out", corpus, recipe, *options)[0] == 0


def test_an_export_that_fills_up_a_disk_is_one_line(built, tmp_path, capfd):
    with full_disk(8192):
        status, out, err = export_into(tmp_path / "out", built.folder)
    assert (status, out) == (1, "")
    assert "can't be written: File too large. What is finished is kept" in err.splitlines()[-1]
    assert "Traceback" not in err + capfd.readouterr().err
    assert export_into(tmp_path / "out", built.folder)[0] == 0


def test_a_kept_catalogue_that_cannot_be_written_is_one_line_before_any_work(speech, shared_path):
    recipe = write_recipe(shared_path / "recipe.json")
    (shared_path / "kept").mkdir()
    (shared_path / "out").mkdir(mode=0o777)
    with read_only(shared_path / "kept"):
        status, out, err = build_into(
            shared_path / "out", speech, recipe, f"--catalogue={shared_path / 'kept'}"
        )
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert f"{shared_path / 'kept'}: can't be written: Permission denied" in line
    assert line.endswith("name another --catalogue")


def test_a_read_only_output_of_an_export_is_one_line_before_any_work(built, shared_path):
    dataset = shutil.copytree(built.folder, shared_path / "mixtures")
    (shared_path / "disk").mkdir()
    with read_only(shared_path / "disk"):
        for output in (shared_path / "disk", shared_path / "disk" / "export"):
            status, out, err = export_into(output, dataset)
            assert (status, out) == (1, "")
            (line,) = err.splitlines()
            assert line == (
                f"export_audio: {output}: can't be written: Permission denied: name another"
                " --output, or make room there"
            )
    assert not list((shared_path / "disk").iterdir())


def test_a_dataset_on_a_read_only_disk_is_complete_exported_and_verified(built, shared_path):
    dataset = Path(shutil.copytree(built.folder, shared_path / "mixtures"))
    corpus = shutil.copytree(built.folder.parent / "corpus", shared_path / "corpus")
    recipe = write_recipe(shared_path / "recipe.json")
    with read_only(dataset):
        again = build_into(dataset, corpus, recipe, "--splits=train=1", "--num_shards=2")
        assert again[0] == 0
        assert again[1].startswith("done: 6 mixtures")
        verified = command(verify_dataset.main, f"--dataset={dataset}")
        assert verified[0] == 0
        assert verified[1].startswith("sound: 6 mixtures in 2 shards")


def test_damage_on_a_read_only_disk_is_found_and_reported_elsewhere(built, shared_path):
    dataset = Path(shutil.copytree(built.folder, shared_path / "mixtures"))
    (shard, *_) = sorted(dataset.glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with read_only(dataset):
        status, out, _ = command(verify_dataset.main, f"--dataset={dataset}")
    assert status == 1
    assert f"{shard.name}: " in out
    report = Path(out.splitlines()[-1].rpartition(": see ")[2])
    assert shard.name in report.read_text()
    assert dataset not in report.parents
    report.unlink()


def test_a_report_that_cannot_be_written_is_one_line_before_any_work(built, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, out, err = command(
        verify_dataset.main, f"--dataset={built.folder}", f"--report={tmp_path}/file/damage.jsonl"
    )
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line == (
        f"verify_dataset: {tmp_path}/file: can't be written: File exists: name another --report"
    )


def a_file(folder):
    (folder / "thesis.tex").write_text("mine")


def a_folder(folder):
    (folder / "progress").mkdir()
    (folder / "progress" / "chapter1.txt").write_text("mine")


def a_report(folder):
    (folder / "report.html").write_text("mine")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("theirs", "more"), [(a_file, ()), (a_folder, ("--dry_run",)), (a_report, ("--overwrite",))]
)
def test_a_folder_with_other_things_is_refused_and_left_alone(
    corpus, recipe, tmp_path, theirs, more
):
    output = tmp_path / "theirs"
    output.mkdir()
    theirs(output)
    before = contents(output)
    status, out, err = build_into(output, corpus, recipe, *more)
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"build_mixtures: {output} holds something else, such as ")
    assert line.endswith(": name another --output, a new or an empty folder")
    assert contents(output) == before


def test_an_export_leaves_a_folder_with_other_things_alone(built, tmp_path):
    a_folder(tmp_path)
    status, out, err = export_into(tmp_path, built.folder)
    assert (status, out) == (1, "")
    assert "holds something else, such as progress: name another --output" in err
    assert [path.name for path in tmp_path.iterdir()] == ["progress"]


@pytest.mark.parametrize("hidden", [".DS_Store", ".directory", "job.json.incomplete-0123"])
def test_a_folder_with_nothing_that_anybody_would_miss_is_used(built, tmp_path, hidden):
    (tmp_path / hidden).write_text("")
    assert export_into(tmp_path, built.folder)[0] == 0


def test_an_export_that_was_stopped_goes_on_in_its_folder(built, tmp_path):
    assert export_into(tmp_path / "out", built.folder)[0] == 0
    (tmp_path / "out" / "COMPLETED").unlink()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert export_into(tmp_path / "out", built.folder)[0] == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_overwrite_goes_on_where_it_was_killed(built, tmp_path):
    folder = Path(shutil.copytree(built.folder, tmp_path / "mixtures"))
    for path in [*folder.glob("*.tfrecord*"), folder / "COMPLETED", folder / "report.html"]:
        path.unlink()
    corpus, recipe = built.folder.parent / "corpus", built.folder.parent / "recipe.json"
    status, *_ = build_into(
        folder, corpus, recipe, "--splits=train=1", "--num_shards=2", "--overwrite"
    )
    assert (status, shard_digests(folder)) == (0, built.digests)
