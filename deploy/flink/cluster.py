"""A Flink cluster on the loopback interface of this machine, and the options to run jobs on it.

python -m deploy.flink.cluster start|stop [--folder .flink] [--rest_port 8081] ...

It has a JobManager, and two TaskManagers with a pool of Python workers each. Two loopback addresses
act as two machines: each TaskManager resolves `localhost` to its own. A supervisor does the job of
systemd or Kubernetes: it restarts whatever dies.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).resolve().parent
JOB_SERVER_JAR = CONFIG / "target" / "flink-job-server.jar"

JOB_MANAGER = "jobmanager"
TASK_MANAGERS = {"taskmanager-1": "127.0.0.1", "taskmanager-2": "127.0.0.2"}
WORKER_POOLS = {"worker-pool-1": "127.0.0.1", "worker-pool-2": "127.0.0.2"}
_SUPERVISOR = "supervisor"

# Flink uses internals of these packages, which Java 17 closes by default.
_OPENED = ("java.base/java.lang", "java.base/java.util")

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 240.0, 15.0
_POLL_S, _RESTART_AFTER_S = 0.2, 1.0


class ClusterError(Exception):
    """The cluster can't be started; the message says what to do about it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, running or not.

    Attributes:
        folder: holds its logs, its temporary files, and the ids of its processes.
        rest_port: the port for submitting jobs and for Flink's web page.
        rpc_port: the port at which the TaskManagers find the JobManager.
        worker_port: the port of the worker pools.
    """

    folder: Path
    rest_port: int = 8081
    rpc_port: int = 6123
    worker_port: int = 50000

    @property
    def web_page(self) -> str:
        """The address of Flink's web page."""
        return f"http://localhost:{self.rest_port}"

    def job_options(self, parallelism: int = 4) -> list[str]:
        """Returns Beam's options for a job on this cluster."""
        return [
            "--runner=FlinkRunner",
            f"--flink_master=localhost:{self.rest_port}",
            f"--flink_job_server_jar={JOB_SERVER_JAR}",
            f"--parallelism={parallelism}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self.worker_port}",
            # Without this, Beam starts new workers for each stage. Dead workers are kept for that
            # time, too, so it is shorter than the delay of a restart in config.yaml.
            "--environment_cache_millis=2000",
        ]

    def pids(self) -> dict[str, int]:
        """Returns the id of the process that each part was last started as, by its name."""
        with contextlib.suppress(FileNotFoundError):
            pids: dict[str, int] = json.loads(self._pids_path.read_text("utf-8"))
            return pids
        return {}

    def is_ready(self) -> bool:
        """Returns whether all TaskManagers have registered and all worker pools answer."""
        with contextlib.suppress(OSError, ValueError):
            with urllib.request.urlopen(f"{self.web_page}/overview", timeout=5) as answer:
                overview = json.load(answer)
            return overview["taskmanagers"] == len(TASK_MANAGERS) and all(
                _answers(host, self.worker_port) for host in WORKER_POOLS.values()
            )
        return False

    def start(self) -> None:
        """Starts the cluster and waits until it is ready. Leaves one that is ready as it is.

        Raises:
            ClusterError: the cluster can't be started.
        """
        if self._is_running():
            if self.is_ready():
                return
            self.stop()
        for name, port in (
            ("--rest_port", self.rest_port),
            ("--rpc_port", self.rpc_port),
            ("--worker_port", self.worker_port),
        ):
            if any(_answers(host, port) for host in TASK_MANAGERS.values()):
                raise ClusterError(
                    f"port {port} is taken: stop what has it, or give another {name}"
                )
        _find_java()
        if not JOB_SERVER_JAR.exists():
            raise ClusterError(f"{JOB_SERVER_JAR} is missing: mvn -f {CONFIG}/pom.xml package")
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._pids_path.unlink(missing_ok=True)
        for name in (_SUPERVISOR, JOB_MANAGER, *TASK_MANAGERS, *WORKER_POOLS):
            self._log_path(name).unlink(missing_ok=True)
        with self._log(_SUPERVISOR) as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "deploy.flink.cluster", "supervise", *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        try:
            deadline_s = time.monotonic() + _START_TIMEOUT_S
            while not self.is_ready():
                if supervisor.poll() is not None or time.monotonic() > deadline_s:
                    raise ClusterError(f"the cluster does not start: see the logs in {self.folder}")
                time.sleep(_POLL_S)
        except BaseException:
            # It may have failed before it took the lock, and stop() would not find it.
            supervisor.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                supervisor.wait(_STOP_TIMEOUT_S)
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the cluster, if it is running, and everything that it started."""
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        while self._is_running():
            if group := self.pids().get(_SUPERVISOR):
                # All processes are in the supervisor's group, which outlives the supervisor.
                is_late = time.monotonic() > deadline_s
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL if is_late else signal.SIGTERM)
            time.sleep(_POLL_S)
        self._pids_path.unlink(missing_ok=True)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def supervise(self) -> None:
        """Runs the parts of the cluster until this process gets a SIGTERM."""
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        with self._lock_path.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            commands = self._commands()
            processes: dict[str, subprocess.Popen[bytes]] = {}
            while not stopped.wait(_RESTART_AFTER_S if processes else 0):
                dead = [name for name in commands if not _is_alive(processes.get(name))]
                for name in dead:
                    print(time.strftime("%X"), "starting", name, flush=True)
                    processes[name] = self._start_process(name, commands[name], lock)
                if dead:
                    self._write_pids(processes)
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait()

    def _start_process(
        self, name: str, command: Sequence[str], lock: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with self._log(name) as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                # The pool starts its workers as `python`.
                env=os.environ | {"PATH": path},
                # As long as any process holds the lock, the cluster is running.
                pass_fds=[lock.fileno()],
            )

    def _commands(self) -> dict[str, list[str]]:
        job_manager = self._java(
            JOB_MANAGER,
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            jvm_options=["-Xmx512m"],
        )
        task_managers = {
            name: [
                *self._java(
                    name,
                    "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                    jvm_options=[
                        *("-Xmx384m", "-XX:MaxDirectMemorySize=192m"),
                        f"-Djdk.net.hosts.file={self._write_hosts(name, host)}",
                    ],
                ),
                *("-D", f"taskmanager.host={host}", "-D", f"taskmanager.bind-host={host}"),
            ]
            for name, host in TASK_MANAGERS.items()
        }
        pools = {
            name: [sys.executable, "-m", "deploy.flink.worker_pool", f"{host}:{self.worker_port}"]
            for name, host in WORKER_POOLS.items()
        }
        return {JOB_MANAGER: job_manager, **task_managers, **pools}

    def _java(self, name: str, main_class: str, *, jvm_options: Sequence[str]) -> list[str]:
        temporary = self._temporary / name
        temporary.mkdir(exist_ok=True)
        return [
            _find_java(),
            *jvm_options,
            "-XX:MaxMetaspaceSize=256m",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
            f"-Djava.io.tmpdir={temporary}",
            # Flink's web page shows this log.
            f"-Dlog.file={self._log_path(name)}",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            *("-cp", str(JOB_SERVER_JAR), main_class, "--configDir", str(CONFIG)),
            *("-D", f"jobmanager.rpc.port={self.rpc_port}", "-D", f"rest.port={self.rest_port}"),
        ]

    def _write_hosts(self, name: str, host: str) -> Path:
        """Writes a hosts file for a TaskManager, with the only names that it resolves."""
        path = self._temporary / f"{name}.hosts"
        path.write_text(f"{host} localhost {socket.gethostname()}\n", "utf-8")
        return path

    def _arguments(self) -> list[str]:
        return [f"--{name}={value}" for name, value in dataclasses.asdict(self).items()]

    def _is_running(self) -> bool:
        """Returns whether any process of the cluster is alive, the supervisor or another."""
        try:
            lock = self._lock_path.open("rb")
        except FileNotFoundError:
            return False
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def _write_pids(self, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        pids = {_SUPERVISOR: os.getpid()} | {
            name: process.pid for name, process in processes.items()
        }
        temporary = self._pids_path.with_suffix(".new")
        temporary.write_text(json.dumps(pids, indent=1), "utf-8")
        temporary.replace(self._pids_path)

    @contextlib.contextmanager
    def _log(self, name: str) -> Iterator[IO[bytes]]:
        with self._log_path(name).open("ab") as log:
            yield log

    def _log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    @property
    def _temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def _lock_path(self) -> Path:
        return self.folder / "lock"

    @property
    def _pids_path(self) -> Path:
        return self.folder / "pids.json"


def _absolute(text: str) -> Path:
    return Path(text).resolve()


def _is_alive(process: "subprocess.Popen[bytes] | None") -> bool:
    return process is not None and process.poll() is None


def _answers(host: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((host, port)) == 0


def _find_java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=os.path.join(home, "bin") if home else None)
    if java is None:
        where = f"in {home}/bin, where JAVA_HOME is" if home else "here"
        raise ClusterError(
            f"no Java {where}: install version 17 (Debian: apt-get install openjdk-17-jre-headless)"
        )
    return java


def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.flink.cluster", description="A Flink cluster on this machine."
    )
    parser.add_argument("action", choices=("start", "stop", "supervise"))
    parser.add_argument("--folder", type=_absolute, default=REPOSITORY / ".flink")
    for field in dataclasses.fields(Cluster)[1:]:
        parser.add_argument(f"--{field.name}", type=int, default=field.default, metavar="PORT")
    arguments = vars(parser.parse_args(argv))
    action = arguments.pop("action")
    cluster = Cluster(**arguments)
    try:
        getattr(cluster, action)()
    except ClusterError as error:
        print(f"flink: {error}", file=sys.stderr)
        return 1
    if action == "start":
        print(f"Flink runs; its web page: {cluster.web_page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
