"""How far a job is, from what its workers write down."""

import re

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.runtime.progress import describe_work, showing_counts
from beam_jobs.runtime.work_counts import CountingDoFn, WorkCounts, WorkRecorder, read_counts


def test_counts_of_several_workers_are_added_up(tmp_path):
    for reason in ("empty file", "not decoded: unknown format"):
        worker = WorkRecorder(str(tmp_path / "counts"))
        worker.add(looked=1, found_s=1.5)
        worker.add(looked=1, rejected=Rejected("/a.wav", reason))
        worker.add(looked=1, rejected=Rejected("/b.wav", reason))
        worker.write()
    counts = read_counts(str(tmp_path / "counts"))
    assert (counts.num_looked, counts.found_s, counts.num_rejected) == (6, 3.0, 4)
    assert counts.rejected.counts == {"empty file": 2, "not decoded": 2}


def test_a_log_says_how_far_a_job_is_and_the_counts_are_gone_afterwards(tmp_path, capsys):
    folder = str(tmp_path / "counts")
    WorkRecorder(folder).write()

    def describe(counts, elapsed_s):
        return describe_work(counts, elapsed_s, total=8, unit="mixtures", rejected="damaged")

    with showing_counts(folder, describe):
        worker = WorkRecorder(folder)
        worker.add(skipped=2, done=2, done_s=1800.0, rejected=Rejected("/a", "damaged"))
        worker.write()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r" 50% 4/8 mixtures, 0\.50 h of audio, 1 damaged, .* mixtures/s, 00:00 left", line
    )
    assert list(tmp_path.iterdir()) == []


class _Count(CountingDoFn):
    def process(self, element):
        self.recorder.add(done=1, done_s=element)


def test_the_pages_of_a_cluster_have_the_counts_as_counters(tmp_path):
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | beam.Create([0.75, 0.75, 0.75]) | beam.ParDo(_Count(str(tmp_path)))
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("progress"))["counters"]
    found = {counter.key.metric.name: counter.committed for counter in counters}
    assert found == {"done": 3, "seconds_of_audio_done": 2}


def test_a_job_that_counts_nothing_shows_nothing(tmp_path, capsys):
    with showing_counts(
        str(tmp_path), lambda counts, _: describe_work(counts, 1, total=1, unit="")
    ):
        pass
    assert capsys.readouterr().err == ""


def test_what_a_lost_worker_has_counted_twice_is_not_more_than_all():
    progress = describe_work(WorkCounts(num_done=9), 1.0, total=8, unit="mixtures")
    assert progress.done == progress.total
    assert progress.text.startswith("8/8 mixtures")


def test_an_error_ends_the_watching_too(tmp_path):
    with (
        pytest.raises(ValueError, match="broken"),
        showing_counts(str(tmp_path), lambda _, __: None),
    ):
        raise ValueError("broken")
