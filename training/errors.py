"""Exceptions of TensorFlow that a user can mend."""

import tensorflow as tf

FILE_ERRORS = (
    OSError,
    tf.errors.AlreadyExistsError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnauthenticatedError,
    tf.errors.UnavailableError,
    tf.errors.UnimplementedError,
)
"""A file that is missing, damaged or out of reach; commands print its message and no traceback.
`UnimplementedError` is a file system that TensorFlow does not have."""
