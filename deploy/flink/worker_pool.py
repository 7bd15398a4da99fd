"""Runs Beam's pool of Python workers on one address of this machine.

python -m deploy.flink.worker_pool HOST:PORT

Beam's own `worker_pool_main` listens on all addresses, so there could be only one on this machine.
Two TaskManagers can't share a pool: each numbers its workers from one, and the pool would stop
those of the other.
"""

import sys

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main(address: str) -> None:
    """Starts workers on request, until the process ends."""
    server = grpc.server(
        thread_pool_executor.shared_unbounded_instance(), options=(("grpc.so_reuseport", 0),)
    )
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
        BeamFnExternalWorkerPoolServicer(use_process=True), server
    )
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
