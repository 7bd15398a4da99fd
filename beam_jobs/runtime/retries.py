"""Retries of what failed for a reason that may pass, such as a file system out of reach."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from beam_jobs.storage.files import OutputError

T = TypeVar("T")

RETRY_AFTER_S = (1.0, 10.0)
"""The pause before each further attempt, in seconds."""

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, OutputError)
_FINAL_ERRNOS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ)


def with_retries(attempt: Callable[[], T]) -> T:
    """Calls a function, and calls it again after a pause if it fails for a reason that may pass."""
    for wait_s in RETRY_AFTER_S:
        try:
            return attempt()
        except OSError as error:
            if not may_pass(error):
                raise
            time.sleep(wait_s)
    return attempt()


def may_pass(error: Exception) -> bool:
    """Returns whether an error may be gone at the next attempt, as some of file systems are."""
    return (
        isinstance(error, OSError)
        and not isinstance(error, _FINAL)
        and error.errno not in _FINAL_ERRNOS
    )
