"""Jobs that can't succeed: the reason is on the screen, early."""

import soundfile
from small_datasets import SAMPLE_RATE, build, voice, write_corpus

from beam_jobs.dataset import progress

NUM_BAD = 130


def write_truncated(corpus, *, num_speakers=10, num_utterances=NUM_BAD // 10):
    """Writes files whose headers are fine, and whose samples can't be decoded."""
    write_corpus(corpus, num_speakers=num_speakers, num_utterances=num_utterances)
    for path in corpus.glob("*/*"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    return corpus


def errors(built):
    return [line for line in built.complaints.splitlines() if line.startswith("build_mixtures")]


def test_a_hundred_files_in_a_row_that_cannot_be_decoded_end_the_job(recipe, tmp_path):
    corpus = write_truncated(tmp_path / "corpus")
    hopeless = build(
        f"--recipe={recipe}",
        "--num_mixtures=2000",
        "--splits=train=1",
        corpus=corpus,
        output=tmp_path / "out",
    )
    assert (hopeless.status, hopeless.printed) == (1, "")
    assert "Traceback" not in hopeless.complaints
    (line,) = errors(hopeless)
    assert "not one of the first 100 files could be used: 100 of 100: not decoded: " in line
    assert f", such as {corpus}/speaker" in line
    assert line.endswith("mend these files or leave them out")
    assert not (tmp_path / "out" / "COMPLETED").exists()


def test_a_hopeless_corpus_that_was_mended_is_looked_at_again(recipe, tmp_path):
    asked = (f"--recipe={recipe}", "--num_mixtures=20", "--splits=train=1")
    corpus, output = write_truncated(tmp_path / "corpus"), tmp_path / "out"
    assert build(*asked, corpus=corpus, output=output).status == 1
    for number, path in enumerate(corpus.glob("*/*")):
        soundfile.write(path, voice(100 + number, 0.5), SAMPLE_RATE)
    mended = build(*asked, corpus=corpus, output=output)
    assert (mended.status, mended.num_mixtures) == (0, 20)


def test_a_few_files_that_can_be_used_are_found_among_many_that_cannot(recipe, tmp_path):
    corpus = write_truncated(tmp_path / "corpus", num_speakers=4, num_utterances=30)
    for speaker in range(4):
        for number in range(5):
            path = corpus / f"speaker{speaker}" / f"{number}.flac"
            soundfile.write(path, voice(100 + speaker, 0.5 + 0.01 * number), SAMPLE_RATE)
    found = build(
        f"--recipe={recipe}",
        "--num_mixtures=20",
        "--splits=train=1",
        corpus=corpus,
        output=tmp_path / "out",
    )
    assert (found.status, found.num_mixtures) == (3, 20)
    assert len(found.rejected) > 50


def test_a_given_recipe_that_cannot_be_made_is_one_line_and_the_rest_is_kept(
    corpus, recipe, tmp_path
):
    asked = (f"--recipe={recipe}", "--splits=train=1")
    drawn = build(*asked, "--recipes_only", corpus=corpus, output=tmp_path / "drawn")
    bad = corpus / drawn.recipes()[-1].sources[0].path
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    given = f"--recipes={tmp_path / 'drawn' / 'recipes' / '*.jsonl'}"
    stopped = build(given, corpus=corpus, output=tmp_path / "out")
    assert (stopped.status, stopped.printed) == (1, "")
    assert "Traceback" not in stopped.complaints
    (line,) = errors(stopped)
    assert f"can't be decoded: {bad.relative_to(corpus)}: mend that" in line
    assert (tmp_path / "out" / "catalogue.arrow").exists()
    bad.write_bytes(content)
    assert build(given, corpus=corpus, output=tmp_path / "out").status == 0


def test_a_dry_run_promises_nothing_of_files_that_cannot_be_decoded(recipe, tmp_path):
    for num_utterances in (2, NUM_BAD // 10):
        corpus = write_truncated(
            tmp_path / f"corpus{num_utterances}", num_utterances=num_utterances
        )
        dry = build(
            f"--recipe={recipe}",
            "--num_mixtures=2000",
            "--splits=train=1",
            "--dry_run",
            corpus=corpus,
            output=tmp_path / "out",
        )
        assert (dry.status, dry.printed) == (1, "")
        (line,) = errors(dry)
        assert ": not decoded: " in line
        assert f", such as {corpus}/speaker" in line


def test_files_that_are_all_rejected_are_explained_by_the_most_frequent_reason(recipe, tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    for path in corpus.glob("*/*"):
        path.write_bytes(b"")
    (corpus / "speaker0" / "0.flac").write_bytes(b"This is no sound. " * 40)
    for more in ((), ("--dry_run",), ("--recipes_only",)):
        rejected = build(f"--recipe={recipe}", *more, corpus=corpus, output=tmp_path / "out")
        assert (rejected.status, rejected.printed) == (1, "")
        (line,) = errors(rejected)
        assert "no usable utterance in the corpus" in line
        assert f"; rejected, 23 of 24: empty file, such as {corpus}/speaker" in line


def test_all_of_the_first_files_rejected_are_on_the_screen_before_the_catalogue_is_there(
    recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("beam_jobs.runtime.work_counts._INTERVAL_S", 0.0)
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL_S", 0.01)
    corpus = write_corpus(tmp_path / "corpus", num_utterances=30)
    for path in corpus.glob("*/*"):
        path.write_bytes(b"")
    rejected = build(f"--recipe={recipe}", "--dry_run", corpus=corpus, output=tmp_path / "out")
    first, *_ = rejected.complaints.splitlines()
    assert first.startswith("all of the first files are rejected, 1")
    assert f": empty file, such as {corpus}/speaker" in first


def test_a_catalogue_in_the_making_shows_its_progress_in_a_log(
    recipe, corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr("beam_jobs.runtime.work_counts._INTERVAL_S", 0.0)
    monkeypatch.setattr("command_line.progress.LOG_INTERVAL_S", 0.01)
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL_S", 0.01)
    built = build(f"--recipe={recipe}", corpus=corpus, output=tmp_path / "out")
    assert built.status == 0
    lines = [line for line in built.complaints.splitlines() if " files looked at, " in line]
    assert lines
    assert lines[-1].split(", ")[1:3] == ["24 found", "0 rejected"]
