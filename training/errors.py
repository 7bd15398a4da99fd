"""Exceptions of TensorFlow that a user can mend."""

import errno
import os

import tensorflow as tf

from schemas.errors import describe_error

FILE_ERRORS = (
    OSError,
    tf.errors.AlreadyExistsError,
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnauthenticatedError,
    tf.errors.UnavailableError,
    tf.errors.UnimplementedError,
)
"""A file that is missing, damaged or out of reach; commands print its message and no traceback.
`UnimplementedError` is a file system that TensorFlow does not have."""


def describe(error: Exception) -> str:
    """Returns a line on what went wrong with a file; its path comes first, if it is known."""
    if isinstance(error, OSError):
        return describe_error(error)
    # TensorFlow's own are `PATH; Permission denied`.
    path, is_divided, reason = str(error).partition("\n")[0].rpartition("; ")
    code = next((code for code in errno.errorcode if os.strerror(code) == reason), 0)
    return describe_error(OSError(code, reason, path)) if is_divided else reason
