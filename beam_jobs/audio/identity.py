"""Recognising a file that was looked at before."""

import os
from typing import BinaryIO

Identity = tuple[int, int, int, int]
"""What tells one version of a file on this machine from all others."""


def find_identity(source: str | BinaryIO) -> Identity | None:
    """Returns the identity of a file; None if it is not on this machine.

    Args:
        source: a path, or an open file.
    """
    try:
        status = os.stat(source if isinstance(source, str) else source.fileno())
    except (AttributeError, OSError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
