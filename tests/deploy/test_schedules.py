import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from beam_jobs.runtime.options import parse_options
from beam_jobs.separate_archive import build_parser

SCHEDULES = Path(__file__).parents[2] / "deploy/schedules"
NIGHTLY = "15 2 * * *"


def cron_line():
    lines = (SCHEDULES / "separate_archive.cron").read_text().splitlines()
    (line,) = (line for line in lines if re.match(r"[\d*]", line))
    return line


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


def cron_arguments():
    assert cron_line().startswith(NIGHTLY + " calls ")
    return shlex.split(cron_line().split(" >>")[0])


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


@pytest.mark.parametrize(
    "arguments",
    [airflow_arguments, cron_arguments, cloud_scheduler_arguments, kubernetes_arguments],
)
def test_each_schedule_runs_a_command_that_the_job_understands(arguments):
    words = arguments()
    start = words.index("beam_jobs.separate_archive")
    assert words[start - 1] == "-m"
    options, _ = parse_options(build_parser(), words[start + 1 :])
    assert options.input.endswith("/**.wav")
    assert options.model
    assert options.output


def test_cron_says_why_by_mail(tmp_path):
    fails = tmp_path / "fails"
    fails.write_text("#!/bin/sh\nexit 3\n")
    fails.chmod(0o755)
    command = cron_line().removeprefix(NIGHTLY + " calls ")
    command = re.sub(r"^flock.*?>>\S+", f"{fails} >>{tmp_path}/log", command)
    mail = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert mail.stdout.startswith("separate_archive: exit status 3")
