"""Folders that can't be written to, also where the tests run as root."""

import contextlib
import os
import resource

_NOBODY = 65534


@contextlib.contextmanager
def read_only(folder):
    """Denies everybody, root as well, to write to a folder."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if not user:
        os.seteuid(_NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o777)


@contextlib.contextmanager
def full_disk(num_bytes_left=0):
    """Fails every write of more bytes to a file than are left, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes_left, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
