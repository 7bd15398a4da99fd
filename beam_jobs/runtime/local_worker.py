"""A worker of Beam's local runner that is a process: `runners.choose_runner` starts it.

It imports Beam as all commands here do, in half of the time that Beam's own worker takes. It says
nothing itself, because the launcher prints what goes wrong in its workers, and ends soon after the
launcher, however that ended.
"""

import logging
import os
import signal
import sys
import threading

import grpc
from apache_beam.runners.worker import sdk_worker_main

from beam_jobs.runtime.workarounds import hide_tracebacks_of_user_errors


def leave_interrupts_to_launcher() -> None:
    """Ignores Ctrl-C, which in a terminal goes to all processes there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main() -> None:
    """Works for the launcher whose address is in the environment, until there is no more to do."""
    leave_interrupts_to_launcher()
    logging.disable()
    os.environ.pop("LOGGING_API_SERVICE_DESCRIPTOR", None)
    hide_tracebacks_of_user_errors()
    print_exception = threading.excepthook
    threading.excepthook = lambda raised: (
        None if isinstance(raised.exc_value, grpc.RpcError) else print_exception(raised)
    )
    try:
        sdk_worker_main.main(sys.argv)
    except grpc.RpcError:
        # The launcher is gone. Its shard at hand is made again by the next one.
        os._exit(1)


if __name__ == "__main__":
    main()
