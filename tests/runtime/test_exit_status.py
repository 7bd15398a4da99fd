import pytest

from beam_jobs.runtime.exit_status import DONE, FAILED, run_command
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


def test_a_command_that_does_not_resume_promises_nothing(capsys):
    assert run_command([], fail_with(KeyboardInterrupt()), name="verify", resumes=False) == FAILED
    assert capsys.readouterr().err == "verify: interrupted\n"


def test_what_a_user_can_mend_is_one_line_from_a_worker_too(capsys):
    wrapped = RuntimeError("worker failed")
    wrapped.__cause__ = InvalidDocumentError("recipe.json: not JSON [while running 'Read']")
    assert run_command([], fail_with(wrapped), name="build") == FAILED
    text = RuntimeError(
        "Traceback ...\nschemas.errors.UserError: no room [while running 'Write']\n"
    )
    assert run_command([], fail_with(text), name="build") == FAILED
    assert capsys.readouterr().err == "build: recipe.json: not JSON\nbuild: no room\n"
