"""Local workers that are processes, in a job that somebody interrupts or the kernel kills."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from small_datasets import build, command_line, leftovers, start

ASKED = ("--splits=train=1", "--num_mixtures=2000", "--num_shards=40")
# So few that workers would be threads if they could not be forked.
FEW = ("--splits=train=1", "--num_mixtures=900", "--num_shards=40", "--direct_num_workers=2")
IN_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@contextlib.contextmanager
def rendering(*arguments, corpus, output):
    """Starts a job and yields its process, in a group of its own, once it has rendered a shard."""
    process = start(*command_line(*arguments, corpus=corpus, output=output))
    while not any(output.glob("*.tfrecord-*")):
        assert process.poll() is None
        time.sleep(0.01)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def job(corpus, recipe, tmp_path):
    """A job that has rendered a shard, and its output folder."""
    asked, output = (f"--recipe={recipe}", *ASKED), tmp_path / "mixtures"
    with rendering(*asked, *IN_PROCESSES, corpus=corpus, output=output) as process:
        yield process, output, (asked, corpus)


def workers(pid):
    """Returns the processes that a job has started."""
    children = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for text in children for child in text.split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_as(pid):
    """Returns the command line that a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_workers_of_a_small_job_are_forks_of_the_command_too(corpus, recipe, tmp_path):
    asked = (f"--recipe={recipe}", *FEW)
    with rendering(*asked, corpus=corpus, output=tmp_path / "mixtures") as process:
        command = run_as(process.pid)
        assert [run_as(worker) for worker in workers(process.pid)] == [command] * 2


def test_a_program_with_other_threads_is_not_forked_and_gets_the_same_bytes(
    corpus, recipe, tmp_path, monkeypatch
):
    asked = (f"--recipe={recipe}", "--splits=train=1", "--num_mixtures=40", "--num_shards=4")
    expected = build(*asked, corpus=corpus, output=tmp_path / "expected")
    ended = threading.Event()
    monkeypatch.delattr(os, "fork")
    other = threading.Thread(target=ended.wait)
    other.start()
    built = build(*asked, *IN_PROCESSES, corpus=corpus, output=tmp_path / "mixtures")
    ended.set()
    other.join()
    assert (built.status, built.digests) == (0, expected.digests)


def test_a_worker_that_was_killed_ends_the_job_which_says_so_and_goes_on(job):
    process, output, (asked, corpus) = job
    killed, _ = workers(process.pid)
    os.kill(killed, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("build_mixtures: a worker was killed, perhaps because")
    assert build(*asked, corpus=corpus, output=output).num_mixtures == 2000
    assert leftovers(output) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_their_launcher_and_say_nothing(corpus, recipe, tmp_path, end):
    # So many that it can't be done before the signal comes.
    asked = (f"--recipe={recipe}", "--splits=train=1", "--num_mixtures=50000", "--num_shards=1000")
    with rendering(*asked, *IN_PROCESSES, corpus=corpus, output=tmp_path / "mixtures") as process:
        started = workers(process.pid)
        assert len(started) == 2
        if end == signal.SIGINT:
            # A terminal sends it to all processes in it.
            os.killpg(process.pid, end)
        else:
            process.send_signal(end)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -end
    assert "Traceback" not in said
    assert "rpc" not in said.lower()
    until = time.monotonic() + 30
    while any(map(is_running, started)):
        assert time.monotonic() < until
        time.sleep(0.05)
