"""Workers of Beam's local runner that are forks of the launcher, and have imported all that it has.

A worker that is a new process imports Beam again, for a second of processor time. A fork starts at
once, and shares the memory of what is imported.

`fork_workers` forks them before there are any threads. Each then waits until Beam starts it.
"""

import json
import os
import sys
import threading
import traceback
import warnings
from typing import Any, NoReturn

from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.transforms.environments import EmbeddedPythonEnvironment, Environment
from google.protobuf import json_format, text_format

from beam_jobs.runtime import local_worker

_URN = "beam:env:spleeter_beam:forked:v1"


def can_fork() -> bool:
    """Returns whether the process may be forked, as that of a command may before its pipeline runs.

    A fork of a process with other threads may wait for ever for what one of them had locked. The
    system libraries of macOS can't be forked at all.
    """
    return sys.platform == "linux" and threading.active_count() == 1


def fork_workers(number: int) -> Environment:
    """Forks the workers of the next pipeline, and returns the environment that it finds them by."""
    for idle in _idle:
        idle.dismiss()
    _idle.clear()
    for _ in range(number):
        _idle.append(_ForkedWorker())
    return _ForkedEnvironment.default()


class _ForkedWorker:
    """A fork that waits for the variables that Beam starts a worker with, or ends without them."""

    def __init__(self) -> None:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        reading, self._writing = os.pipe()
        with warnings.catch_warnings():
            # Python counts threads of C libraries, too, which see to forks by themselves.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            for other in (*_idle, self):
                os.close(other._writing)
            _work(reading)
        os.close(reading)

    def start(self, variables: dict[str, str]) -> None:
        with open(self._writing, "w") as file:
            json.dump(variables, file)

    def dismiss(self) -> None:
        os.close(self._writing)
        self.wait()

    def wait(self) -> None:
        os.waitpid(self._pid, 0)


_idle: list[_ForkedWorker] = []


def _work(reading: int) -> NoReturn:
    status = 1
    try:
        local_worker.leave_interrupts_to_launcher()
        with open(reading) as file:
            variables = file.read()
        if variables:
            os.environ.update(json.loads(variables))
            local_worker.main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # What the launcher does when it ends is not for its forks.
        os._exit(status)


class _ForkedEnvironment(EmbeddedPythonEnvironment):
    """Tells Beam to use workers that are forked already."""

    def to_runner_api_parameter(self, _context: Any) -> tuple[str, None]:
        return _URN, None


@WorkerHandler.register_environment(_URN, None)
class _ForkedWorkerHandler(GrpcWorkerHandler):
    """Starts a worker and waits for its end."""

    def __init__(self, _payload: None, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)

    def start_worker(self) -> None:
        control = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        options = self.provision_info.provision_info.pipeline_options
        self._worker = _idle.pop()
        self._worker.start(
            {
                "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
                "PIPELINE_OPTIONS": json_format.MessageToJson(options),
                "WORKER_ID": self.worker_id,
            }
        )

    def stop_worker(self) -> None:
        self._worker.wait()
