"""Breaks a Flink cluster while a job runs on it, and prints how the job ended.

python -m deploy.flink.inject_faults --corpus FOLDER --output FOLDER [any option of build_mixtures]

If the job fails, it is started again, as its user would.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.flink.cluster import JOB_MANAGER, REPOSITORY, Cluster, ClusterError

# Flink's heartbeat timeout is 50 s.
_FROZEN_S = 70.0
_SLOW_CYCLE_S, _SLOW_SHARE = 1.0, 0.2
_SHARDS_BEFORE_FAULT = 3
_MAX_ATTEMPTS, _ATTEMPT_TIMEOUT_S, _POLL_S = 3, 900.0, 0.05

Job = subprocess.Popen[bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job.

    Attributes:
        attempts: how often it was started until it was done.
        seconds: the time from the first start to the end.
        num_finished: the number of shards that were finished when the fault struck.
        num_redone: how many of these were written again.
        is_same: whether all shards have the same bytes as without a cluster.
    """

    attempts: int
    seconds: float
    num_finished: int
    num_redone: int
    is_same: bool


def no_fault(cluster: Cluster, job: Job) -> None:
    """Breaks nothing, for comparison."""
    del cluster, job


def kill_task_manager(cluster: Cluster, job: Job) -> None:
    """Kills the TaskManager of one of the two machines."""
    del job
    os.kill(cluster.pids()["taskmanager-1"], signal.SIGKILL)


def kill_worker(cluster: Cluster, job: Job) -> None:
    """Kills the workers of one machine, as when they run out of memory."""
    del job
    for pid in workers(cluster.pids()["worker-pool-1"]):
        os.kill(pid, signal.SIGKILL)


def kill_worker_pool(cluster: Cluster, job: Job) -> None:
    """Kills a worker pool with all its workers, as when a container is killed."""
    del job
    pool = cluster.pids()["worker-pool-1"]
    for pid in (pool, *workers(pool)):
        os.kill(pid, signal.SIGKILL)


def kill_node(cluster: Cluster, job: Job) -> None:
    """Kills everything on one machine, TaskManager and workers at once."""
    kill_worker_pool(cluster, job)
    kill_task_manager(cluster, job)


def kill_job_manager(cluster: Cluster, job: Job) -> None:
    """Kills the JobManager. It restarts, but without high availability it has lost all jobs."""
    del job
    os.kill(cluster.pids()[JOB_MANAGER], signal.SIGKILL)


def kill_command(cluster: Cluster, job: Job) -> None:
    """Kills the command that started the job, and Beam's job server with it."""
    del cluster
    os.killpg(job.pid, signal.SIGKILL)


def slow_node(cluster: Cluster, job: Job) -> None:
    """Lets the processes of one machine run only a fifth of the time, until the job ends."""
    pool = cluster.pids()["worker-pool-1"]
    while job.poll() is None:
        slowed = [cluster.pids()["taskmanager-1"], *workers(pool)]
        _signal_all(slowed, signal.SIGSTOP)
        time.sleep(_SLOW_CYCLE_S * (1 - _SLOW_SHARE))
        _signal_all(slowed, signal.SIGCONT)
        time.sleep(_SLOW_CYCLE_S * _SLOW_SHARE)


def freeze_node(cluster: Cluster, job: Job) -> None:
    """Freezes one machine until Flink considers it lost, and then lets it continue."""
    del job
    frozen = [cluster.pids()["taskmanager-1"], *workers(cluster.pids()["worker-pool-1"])]
    _signal_all(frozen, signal.SIGSTOP)
    time.sleep(_FROZEN_S)
    _signal_all(frozen, signal.SIGCONT)


FAULTS: dict[str, Callable[[Cluster, Job], None]] = {
    "none": no_fault,
    "TaskManager killed": kill_task_manager,
    "workers killed": kill_worker,
    "worker pool killed": kill_worker_pool,
    "TaskManager and worker pool killed": kill_node,
    "JobManager killed": kill_job_manager,
    "command and job server killed": kill_command,
    "node at a fifth of its speed": slow_node,
    f"node frozen for {_FROZEN_S:.0f} s": freeze_node,
}


def workers(pool: int) -> list[int]:
    """Returns the ids of the processes that a worker pool has started."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name of the program is in parentheses and may contain spaces.
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pool:
                children.append(int(path.parent.name))
    return children


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def finished_shards(folder: Path) -> dict[Path, int]:
    """Returns the time of writing, in ns, of each finished shard of an unfinished dataset."""
    finished = {}
    for path in folder.glob("progress/*-of-?????.json"):
        split, number = path.stem.split("-", 1)
        for shard in folder.glob(f"*-{split}.tfrecord-{number}"):
            finished[shard] = shard.stat().st_mtime_ns
    return finished


def shard_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each shard of a dataset, by its split and number."""
    return {
        path.name.removeprefix(folder.name): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.tfrecord-*-of-?????")
    }


def run_with(
    fault: Callable[[Cluster, Job], None],
    command: Sequence[str],
    *,
    cluster: Cluster,
    folder: Path,
    expected: dict[str, str],
) -> Outcome:
    """Runs a job to its end, with a fault once it has finished some shards.

    Args:
        fault: breaks something.
        command: starts the job.
        cluster: runs the job.
        folder: the job's output.
        expected: the `shard_digests` of a job without a cluster.

    Raises:
        ClusterError: the job fails several times, or does not end.
    """
    started_s = time.monotonic()
    finished: dict[Path, int] = {}
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        while not cluster.is_ready():
            time.sleep(_POLL_S)
        with folder.with_suffix(".log").open("ab") as log:
            job = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True
            )
        try:
            if attempt == 1:
                while job.poll() is None and len(finished) < _SHARDS_BEFORE_FAULT:
                    time.sleep(_POLL_S)
                    finished = finished_shards(folder)
                fault(cluster, job)
            status = job.wait(_ATTEMPT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"the job does not end: {folder.with_suffix('.log')}") from None
        finally:
            # The job server must not outlive the attempt, however it ended.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        if status == 0:
            return Outcome(
                attempts=attempt,
                seconds=time.monotonic() - started_s,
                num_finished=len(finished),
                num_redone=sum(
                    shard.stat().st_mtime_ns != written for shard, written in finished.items()
                ),
                is_same=shard_digests(folder) == expected,
            )
    raise ClusterError(f"the job failed {_MAX_ATTEMPTS} times: {folder.with_suffix('.log')}")


def describe(name: str, outcome: Outcome) -> str:
    """Formats a row of the table."""
    ended = "finished" if outcome.attempts == 1 else "failed; started again, finished"
    return (
        f"| {name} | {ended} | {outcome.seconds:.0f} | {outcome.num_finished} |"
        f" {outcome.num_redone} | {'yes' if outcome.is_same else 'NO'} |"
    )


def main(argv: Sequence[str]) -> int:
    """Prints the table, and returns 0 if every job ended with the right bytes."""
    parser = argparse.ArgumentParser(prog="python -m deploy.flink.inject_faults")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    arguments, options = parser.parse_known_args(argv)
    output = arguments.output.resolve()
    output.mkdir(parents=True)

    def command(folder: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "beam_jobs.build_mixtures", *options),
            *(f"--corpus={arguments.corpus.resolve()}", f"--output={folder}"),
        ]

    subprocess.run(command(output / "local"), check=True, cwd=REPOSITORY)
    expected = shard_digests(output / "local")
    cluster = Cluster(REPOSITORY / ".flink")
    cluster.start()
    print("| fault | the job | seconds | shards finished before | of these redone | same bytes |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    all_same = True
    for name, fault in FAULTS.items():
        folder = output / fault.__name__
        outcome = run_with(
            fault,
            [*command(folder), *cluster.job_options()],
            cluster=cluster,
            folder=folder,
            expected=expected,
        )
        print(describe(name, outcome), flush=True)
        all_same &= outcome.is_same
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
