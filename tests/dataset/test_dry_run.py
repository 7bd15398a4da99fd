"""Dry runs, and catalogues that are kept for other jobs."""

import datetime
import fcntl
import os
import re
import shutil

import pytest
import soundfile
from small_datasets import build, command_line, kill_when, start, write_corpus, write_recipe

from beam_jobs.corpora.catalogue import open_catalogue
from schemas import dataset


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "speech")


@pytest.fixture
def asked(tmp_path):
    recipe = write_recipe(tmp_path / "recipe.json")
    return f"--recipe={recipe}", "--splits=train=0.5,test=0.5", "--num_mixtures=40"


def test_a_dry_run_says_what_the_job_then_does_and_writes_nothing(corpus, asked, tmp_path):
    output = tmp_path / "out" / "mixtures"
    dry = build(*asked, "--dry_run", corpus=corpus, output=output)
    assert dry.status == 0
    assert not list((tmp_path / "out").rglob("*"))
    assert re.search(r"^utterances +24, 0.0\d h$", dry.printed, re.MULTILINE)
    assert re.search(r"^speakers +8$", dry.printed, re.MULTILINE)
    assert re.search(r"^mixtures +40, 0.01 h: train 20, test 20$", dry.printed, re.MULTILINE)
    assert re.search(r"^time +\d.* on one core, \d", dry.printed, re.MULTILINE)
    (megabytes,) = re.findall(r"^on disk +(\S+)MB$", dry.printed, re.MULTILINE)
    built = build(*asked, corpus=corpus, output=output)
    size = sum(path.stat().st_size for path in output.glob("*.tfrecord-*"))
    assert float(megabytes) == pytest.approx(size / 1e6, rel=0.2)
    assert "40 mixtures, 0.01 h" in built.last_line


def test_a_dry_run_names_what_would_be_rejected(corpus, asked, tmp_path):
    (corpus / "speaker0" / "empty.flac").touch()
    silent = corpus / "speaker1" / "silent.flac"
    soundfile.write(silent, [0.0] * 8000, 8000)
    dry = build(*asked, "--dry_run", corpus=corpus, output=tmp_path / "out")
    assert dry.status == 3
    assert "empty.flac: empty" in dry.printed
    assert f"{silent}: silence" in dry.printed


def test_a_dry_run_without_anything_to_do_is_an_error_of_one_line(tmp_path, asked):
    (tmp_path / "nothing").mkdir()
    dry = build(*asked, "--dry_run", corpus=tmp_path / "nothing", output=tmp_path / "out")
    assert dry.status == 1
    assert dry.complaints.count("\n") == 1
    assert "no usable utterance" in dry.last_line


def test_the_next_dry_run_removes_what_a_killed_one_left(corpus, asked, tmp_path):
    output = tmp_path / "out" / "mixtures"
    argv = command_line(*asked, "--dry_run", corpus=corpus, output=output)
    kill_when(start(*argv), lambda: list(output.parent.glob("mixtures.dry_run-*/progress")))
    assert len(list(output.parent.iterdir())) == 1
    going_on = output.parent / "mixtures.dry_run-0123"
    going_on.mkdir()
    descriptor = os.open(going_on, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert build(*asked, "--dry_run", corpus=corpus, output=output).status == 0
    finally:
        os.close(descriptor)
    assert list(output.parent.iterdir()) == [going_on]


def test_a_kept_catalogue_spares_the_next_job_the_headers(corpus, asked, tmp_path):
    keep = f"--catalogue={tmp_path / 'kept'}"
    (corpus / "speaker0" / "empty.flac").touch()
    first = build(*asked, keep, corpus=corpus, output=tmp_path / "first")
    # Nobody looks at what was found to be no audio a second time.
    (corpus / "speaker0" / "empty.flac").unlink()
    second = build(*asked, keep, corpus=corpus, output=tmp_path / "second")
    assert first.digests == second.digests
    assert first.status == second.status == 3
    assert first.rejected == second.rejected != {}
    age = f"the corpora are as they were on {datetime.date.today()} at "
    assert age not in first.printed
    assert age in second.printed
    dry = build(*asked, keep, "--dry_run", corpus=corpus, output=tmp_path / "third")
    assert age in dry.printed


def test_a_dry_run_leaves_the_catalogue_where_it_was_asked_to(corpus, asked, tmp_path):
    keep = f"--catalogue={tmp_path / 'kept'}"
    build(*asked, keep, "--dry_run", corpus=corpus, output=tmp_path / "out")
    assert len(open_catalogue(str(tmp_path / "kept" / dataset.CATALOGUE))) == 24


def test_the_catalogue_of_another_corpus_is_not_taken(corpus, asked, tmp_path):
    keep = f"--catalogue={tmp_path / 'kept'}"
    build(*asked, keep, "--dry_run", corpus=corpus, output=tmp_path / "out")
    other = write_corpus(tmp_path / "talks")
    refused = build(*asked, keep, corpus=other, output=tmp_path / "out")
    assert refused.status == 1
    assert refused.complaints.count("\n") == 1
    assert 'is the catalogue of ["speech"], not of ["talks"]' in refused.last_line


def gone(corpus):
    for path in corpus.rglob("*.flac"):
        path.unlink()


def moved_to_another_suffix(corpus):
    for path in list(corpus.rglob("*.flac")):
        sound, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".wav"), sound, rate)
        path.unlink()


def resampled(corpus):
    for path in corpus.rglob("*.flac"):
        sound, _ = soundfile.read(path)
        soundfile.write(path, sound, 11025)


def shortened(corpus):
    for path in corpus.rglob("*.flac"):
        sound, rate = soundfile.read(path)
        soundfile.write(path, sound[: len(sound) // 2], rate)


def without_a_speaker(corpus):
    for path in (corpus / "speaker0").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (gone, "no such file or directory"),
        (moved_to_another_suffix, "no such file or directory"),
        (resampled, "11025 hz where the catalogue has 8000"),
        (shortened, "samples where the catalogue has "),
        (without_a_speaker, "no such file or directory"),
    ],
)
def test_a_kept_catalogue_of_a_corpus_that_has_changed_is_named_before_any_work(
    corpus, asked, tmp_path, change, problem
):
    kept = tmp_path / "kept"
    build(*asked, f"--catalogue={kept}", "--dry_run", corpus=corpus, output=tmp_path / "out")
    change(corpus)
    for more in (("--dry_run",), ()):
        stale = build(*asked, f"--catalogue={kept}", *more, corpus=corpus, output=tmp_path / "out")
        assert (stale.status, stale.printed) == (1, "")
        (line,) = stale.complaints.splitlines()
        assert f"--catalogue={kept}: the corpus has changed since: {corpus}/speaker" in line
        assert problem in line.lower()
        assert line.endswith(f"remove {kept}, and the next job makes a new catalogue")
        assert not list((tmp_path / "out").rglob("*.arrow"))


def test_a_job_goes_on_after_the_kept_catalogue_was_removed(corpus, asked, tmp_path):
    keep = f"--catalogue={tmp_path / 'kept'}"
    build(*asked, keep, "--dry_run", corpus=corpus, output=tmp_path / "out")
    moved_to_another_suffix(corpus)
    assert build(*asked, keep, corpus=corpus, output=tmp_path / "out").status == 1
    shutil.rmtree(tmp_path / "kept")
    again = build(*asked, keep, corpus=corpus, output=tmp_path / "out")
    assert (again.status, again.num_mixtures) == (0, 40)
    assert {path.suffix for path in corpus.rglob("*.*")} == {".wav"}


def test_a_file_that_is_no_catalogue_is_named(corpus, asked, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / dataset.CATALOGUE).write_text("arrows")
    keep = f"--catalogue={tmp_path / 'kept'}"
    refused = build(*asked, keep, corpus=corpus, output=tmp_path / "out")
    assert refused.status == 1
    assert f"{tmp_path / 'kept' / dataset.CATALOGUE}: not a catalogue" in refused.last_line


def test_a_corpus_that_was_mended_is_looked_at_again(asked, tmp_path):
    keep = f"--catalogue={tmp_path / 'kept'}"
    corpus = tmp_path / "speech"
    corpus.mkdir()
    assert build(*asked, keep, corpus=corpus, output=tmp_path / "out").status == 1
    write_corpus(corpus)
    assert build(*asked, keep, corpus=corpus, output=tmp_path / "out").status == 0
