"""Ports of this machine, for the servers that tests start."""

import socket


def free_port() -> int:
    """Returns a port that no server uses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def is_listening(port: int) -> bool:
    """Returns whether a server accepts connections at a port."""
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0
