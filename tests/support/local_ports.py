"""Ports of this machine, for the servers that tests start."""

import socket


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether there is somebody to connect to."""
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0
