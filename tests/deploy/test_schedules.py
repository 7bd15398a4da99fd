"""The schedules, read and run as they are in the repository."""

import ast
import configparser
import os
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from beam_jobs.runtime.options import parse_options
from beam_jobs.separate_archive import build_parser

SCHEDULES = Path(__file__).parents[2] / "deploy/schedules"
NIGHTLY = "15 2 * * *"
SCRIPT = SCHEDULES / "separate_archive.sh"
UNITS = ("separate-archive.service", "separate-archive.timer")


def airflow_arguments():
    tree = ast.parse((SCHEDULES / "separate_archive_dag.py").read_text())
    calls = {
        node.func.id: {keyword.arg: keyword.value for keyword in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert ast.literal_eval(calls["DAG"]["schedule"]) == NIGHTLY
    assert ast.literal_eval(calls["BashOperator"]["skip_on_exit_code"]) == 3
    return shlex.split(ast.literal_eval(calls["BashOperator"]["bash_command"]))


def cloud_scheduler_arguments():
    path = SCHEDULES / "cloud_scheduler.sh"
    subprocess.run(["bash", "-n", path], check=True)
    return re.search(r"--args='\^;\^(.*)'", path.read_text())[1].split(";")


def kubernetes_arguments():
    job = yaml.safe_load((SCHEDULES / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["schedule"] == NIGHTLY
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onExitCodes"]["containerName"] == container["name"]
    assert rules[0]["onExitCodes"]["values"] == [3]
    return [*container["command"], *container["args"]]


def unit(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string((SCHEDULES / name).read_text())
    return parser


def systemd_arguments():
    assert unit(UNITS[1])["Timer"]["OnCalendar"] == "*-*-* 02:15"
    return shlex.split(unit(UNITS[0])["Service"]["ExecStart"])


def understood(words):
    """The options that `separate_archive` reads in a command line."""
    start = words.index("beam_jobs.separate_archive")
    assert words[start - 1] == "-m"
    options, _ = parse_options(build_parser(), words[start + 1 :])
    return options


@pytest.mark.parametrize(
    "arguments",
    [airflow_arguments, cloud_scheduler_arguments, kubernetes_arguments, systemd_arguments],
)
def test_each_schedule_runs_a_command_that_the_job_understands(arguments):
    options = understood(arguments())
    assert [pattern.endswith("/**.wav") for pattern in options.input] == [True]
    assert options.model
    assert options.output


class OrdinaryUser:
    """A user with a home folder and without special rights.

    In place of the Python of the schedules this user has a program that writes down its arguments,
    prints `separating`, and ends with a status.

    Attributes:
        home: the home folder.
    """

    def __init__(self, home):
        self.home = home
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        python = home / "spleeter-beam/.venv/bin/python"
        python.parent.mkdir(parents=True)
        self.python = python
        self.make_python("exit 0")
        if self._account:
            for path in (home, *home.rglob("*")):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def make_python(self, ending):
        arguments = shlex.quote(str(self.home / "arguments"))
        self.python.write_text(
            f"#!/bin/sh\nprintf '%s\\n' python \"$@\" > {arguments}\necho separating\n{ending}\n"
        )
        self.python.chmod(0o755)

    def start(self, *command):
        options = {}
        if self._account:
            options = {
                "user": self._account.pw_uid,
                "group": self._account.pw_gid,
                "extra_groups": [],
            }
        return subprocess.Popen(
            command,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def run(self, *command):
        """Returns the exit status of a command, and what it printed."""
        process = self.start(*command)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    @property
    def log(self):
        path = self.home / ".local/state/separate_archive/log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def arguments(self):
        return (self.home / "arguments").read_text().splitlines()


@pytest.fixture
def ordinary_user():
    # pytest's own temporary folders are closed to other users.
    home = Path(tempfile.mkdtemp(prefix="home-"))
    yield OrdinaryUser(home)
    shutil.rmtree(home)


@pytest.fixture
def cron_command(ordinary_user):
    """The command that cron runs for this user, with the script where the crontab expects it."""
    lines = (SCHEDULES / "separate_archive.cron").read_text().splitlines()
    (line,) = (line for line in lines if re.match(r"[\d*]", line))
    assert line.startswith(f"{NIGHTLY} ")
    folder = ordinary_user.home / ".local/bin"
    ordinary_user.run("mkdir", "--parents", folder)
    shutil.copy(SCRIPT, folder)
    # Cron runs this shell unless the crontab names another one.
    return "/bin/sh", "-c", line.removeprefix(f"{NIGHTLY} ")


def test_cron_separates_as_an_ordinary_user_and_mails_nothing(ordinary_user, cron_command):
    assert ordinary_user.run(*cron_command) == (0, "")
    options = understood(ordinary_user.arguments)
    assert options.input == [f"{ordinary_user.home}/calls/**.wav"]
    assert options.output == f"{ordinary_user.home}/separated"


def test_every_line_of_the_log_has_its_date(ordinary_user, cron_command):
    ordinary_user.run(*cron_command)
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert all(re.match(date, line) for line in ordinary_user.log)
    assert [re.sub(date, "", line) for line in ordinary_user.log] == ["separating", "exit status 0"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (3, "some files were rejected: see .*/separated/rejected.jsonl"),
        (1, "the run failed: .*log"),
    ],
)
def test_cron_says_why_by_mail(ordinary_user, cron_command, status, reason):
    ordinary_user.make_python(f"exit {status}")
    ended, mail = ordinary_user.run(*cron_command)
    assert ended == status
    assert re.fullmatch(f"separate_archive: exit status {status}, {reason}\n", mail)
    assert ordinary_user.log[-1].endswith(f" exit status {status}")


def test_cron_leaves_a_run_alone_that_is_still_going_on(ordinary_user, cron_command):
    ordinary_user.make_python("while [ ! -e done ]; do sleep 0.05; done")
    first = ordinary_user.start(*cron_command)
    while first.poll() is None and not ordinary_user.log:
        time.sleep(0.05)
    assert ordinary_user.run(*cron_command) == (0, "")
    assert ordinary_user.log[-1].endswith("the previous run is still going on: nothing to do")
    (ordinary_user.home / "done").touch()
    assert first.communicate(timeout=60) == ("", None)
    assert first.returncode == 0
    assert sum(line.endswith(" separating") for line in ordinary_user.log) == 1


def test_cron_mails_that_there_is_no_folder_for_the_log(ordinary_user, cron_command):
    (ordinary_user.home / ".local/state").touch()
    status, mail = ordinary_user.run(*cron_command)
    assert status != 0
    assert ".local/state" in mail


def test_systemd_takes_the_units_of_an_ordinary_user(ordinary_user):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here: it checks units (Debian: apt-get install systemd)")
    units = [shutil.copy(SCHEDULES / name, ordinary_user.home) for name in UNITS]
    command = ("env", f"XDG_RUNTIME_DIR={ordinary_user.home}", analyze, "--user", "verify", *units)
    assert ordinary_user.run(*command) == (0, "")
    with Path(units[0]).open("a") as service:
        service.write("ExecStartt=true\n")
    _, complaint = ordinary_user.run(*command)
    assert "ExecStartt" in complaint
