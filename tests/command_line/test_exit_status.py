import os
import signal
import subprocess
import sys

import pytest

from command_line.exit_status import DONE, FAILED, run_command
from schemas.errors import UserError
from schemas.validation import InvalidDocumentError


def fail_with(error):
    def run(_):
        raise error

    return run


def test_the_status_is_the_command_s_own(capsys):
    assert run_command(["--seed=1"], lambda argv: len(argv) - 1, name="build") == DONE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [UserError("no such corpus"), OSError("no such corpus")])
def test_what_a_user_can_mend_is_one_line(error, capsys):
    assert run_command([], fail_with(error), name="build") == FAILED
    assert capsys.readouterr().err == "build: no such corpus\n"


def test_a_fault_of_the_program_keeps_its_traceback_and_says_how_to_go_on(capsys):
    assert run_command([], fail_with(ValueError("shapes differ")), name="build") == FAILED
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Traceback")
    assert last.startswith("build: ValueError: shapes differ; what is finished is kept: start")


_INTERRUPTED = """
import signal, sys, threading
from command_line.exit_status import run_command

# What starts tests in the background may have them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

def run(_):
    threading.Thread(target=threading.Event().wait).start()
    signal.raise_signal(signal.SIGINT)

sys.exit(run_command([], run, name="verify", resumes={resumes}))
"""


@pytest.mark.parametrize("resumes", [False, True])
def test_an_interrupt_ends_the_process_by_its_signal_and_the_last_line_says_how_to_go_on(resumes):
    job = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED.format(resumes=resumes)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert job.returncode == -signal.SIGINT
    advice = "; what is finished is kept: start the same command again and it goes on from here"
    assert job.stderr == f"verify: interrupted{advice if resumes else ''}\n"


def test_what_a_user_can_mend_is_one_line_from_a_worker_too(capsys):
    wrapped = RuntimeError("worker failed")
    wrapped.__cause__ = InvalidDocumentError("recipe.json: not JSON [while running 'Read']")
    assert run_command([], fail_with(wrapped), name="build") == FAILED
    text = RuntimeError(
        "Traceback ...\nschemas.errors.UserError: no room [while running 'Write']\n"
    )
    assert run_command([], fail_with(text), name="build") == FAILED
    assert capsys.readouterr().err == "build: recipe.json: not JSON\nbuild: no room\n"


_PRINTING = """
import os, sys
from command_line.exit_status import run_command

def run(_):
    for number in range(5):
        print("line", number, "x" * 100_000, flush=number == 3, file=sys.{stream})
    os.write({report}, b"done")
    return {status}

sys.exit(run_command([], run, name="build"))
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("status", [0, 3])
def test_a_reader_that_goes_away_changes_neither_the_work_nor_the_status(stream, status):
    report_read, report_written = os.pipe()
    read, written = os.pipe()
    os.close(read)
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    job = subprocess.run(
        [
            *(sys.executable, "-c"),
            _PRINTING.format(stream=stream, status=status, report=report_written),
        ],
        check=False,
        pass_fds=[report_written],
        **{stream: written, other: subprocess.PIPE},
    )
    assert job.returncode == status
    assert os.read(report_read, 100) == b"done"
    assert not getattr(job, other)
    for descriptor in (written, report_read, report_written):
        os.close(descriptor)


def test_a_command_without_a_standard_output_works(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)

    def run(_):
        print("done")
        return DONE

    assert run_command([], run, name="build") == DONE
