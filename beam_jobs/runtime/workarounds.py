"""Workarounds for quirks of other libraries: one function for each, and when to delete it.

Only `stop_timed_sends` is needed for correct results. The others save the time or memory that their
docstrings give, measured on two cores.
"""

import contextlib
import ctypes
import importlib.metadata
import logging
import os
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

from beam_jobs.runtime.extras import require_installed
from command_line.exit_status import is_user_error
from schemas.errors import UserError

# From glibc's malloc.h; other C libraries have no mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def import_beam() -> None:
    """Imports Beam without the packages that it would import only because they are installed.

    If it finds pandas, which Spleeter installs, Beam loads it for DataFrames, and it loads clients
    of databases that no job here uses, and of Cloud Storage, which `storage.files` imports at the
    first `gs://` path. And Google's clients look through all that is installed for the name of
    their own package, to warn of an old Python.

    For Beam 2.72 and google-api-core 2.30. Saves more than half of the start-up of every command:
    0.6 s of processor time rather than 1.3 s. Delete it once `python -X importtime -c "import
    apache_beam"` lists no pandas.
    """
    unused = (
        *("pandas", "bson", "pymongo", "apache_beam.io.gcp.bigquery"),
        *("google.cloud.bigquery", "google.cloud.pubsub", "google.cloud.storage"),
    )
    # Beam warns that crcmod is missing before it looks for google-crc32c.
    logging.disable(logging.WARNING)
    find_distributions = importlib.metadata.packages_distributions
    vars(importlib.metadata)["packages_distributions"] = dict
    try:
        with _hidden(*unused), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import apache_beam  # noqa: F401, PLC0415
    finally:
        vars(importlib.metadata)["packages_distributions"] = find_distributions
        logging.disable(logging.NOTSET)


def keep_pandas_out_of_arrow() -> None:
    """Makes PyArrow's only look for pandas find none that it takes.

    It looks when it makes its first array. Conversions to pandas look again.

    For PyArrow 23. Saves 0.4 s of processor time of each command that makes an array. Delete it
    once `python -X importtime -c "import pyarrow; pyarrow.array([])"` lists no pandas.
    """
    import pyarrow as pa  # noqa: PLC0415

    too_old = types.ModuleType("pandas")
    vars(too_old)["__version__"] = "0"
    with _replaced(pandas=too_old), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        pa.array([])


def import_scipy_signal() -> Any:
    """Imports `scipy.signal` without SciPy's statistics, of which it takes one function.

    With that function it finds peaks by wavelets, which nothing here does.

    For SciPy 1.15. Saves half of 0.47 s of processor time of each job that measures loudness.
    Delete it once `python -X importtime -c "import scipy.signal"` lists no `scipy.stats`.
    """
    without = types.ModuleType("scipy.stats")
    vars(without)["scoreatpercentile"] = None
    with _replaced(**{"scipy.stats": without}):
        import scipy.signal  # noqa: PLC0415

        return scipy.signal


def import_pyloudnorm() -> Any:
    """Imports pyloudnorm, which takes a filter of `scipy.signal`, as `import_scipy_signal` does."""
    import_scipy_signal()
    import pyloudnorm  # noqa: PLC0415

    return pyloudnorm


def stop_timed_sends() -> None:
    """Makes the workers of Beam's local runner send data only when they finish a bundle.

    By default they also send every second, from a thread that takes no lock, and an element that
    is being written at that moment is torn apart or lost.

    For Beam 2.72. Without it, data is lost: in about half of the runs only 64,916 of 65 thousand
    files arrived, or the job failed. Delete it once `tests/runtime/test_local_runner.py` passes
    without it.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers  # noqa: PLC0415

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


def hide_tracebacks_of_user_errors() -> None:
    """Makes the workers of Beam's local runner keep the tracebacks of a `UserError` to themselves.

    They print the traceback of any exception, three times, before it gets to the command, which
    says in one line what the user can do.

    For Beam 2.72. Delete it once the tests of full disks pass without it.
    """
    from apache_beam.runners import common  # noqa: PLC0415
    from apache_beam.runners.worker import sdk_worker  # noqa: PLC0415

    def is_shown(record: logging.LogRecord) -> bool:
        _, error, _ = record.exc_info or (None, None, None)
        return not (isinstance(error, UserError) or is_user_error(record.getMessage()))

    def show(text: str, **options: Any) -> None:
        if not is_user_error(text):
            print(text, **options)

    for module in (common, sdk_worker):
        module._LOGGER.addFilter(is_shown)
    vars(sdk_worker)["print"] = show


def keep_freed_memory() -> None:
    """Asks the C library to keep freed memory for the next allocation of a similar size.

    Decoded files and records take megabytes. By default glibc returns such blocks to the kernel
    when they are freed and gets them back page by page, and threads wait for each other there.

    For glibc 2.36; with other C libraries it does nothing. Saves a tenth of the time of rendering
    in one thread and a quarter in two. Delete it once `bench/mixtures.py` shows no difference
    without it.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def import_tensorflow() -> Any:
    """Imports TensorFlow without jax and pandas, with oneDNN, and without its log messages.

    TensorFlow imports jax and pandas if they are installed, and does not use oneDNN on processors
    without AVX-512.

    For TensorFlow 2.12. Saves 0.6 s of the 2.2 s that its import takes, and with oneDNN a third of
    the time of Spleeter's networks. Delete it for a TensorFlow that does both by default.

    Raises:
        UserError: it is not installed.
    """
    require_installed("tensorflow")
    with _hidden("jax", "pandas"):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        import tensorflow as tf  # noqa: PLC0415

        tf.get_logger().setLevel("ERROR")
        return tf


def import_spleeter_builder() -> Any:
    """Imports Spleeter's `EstimatorSpecBuilder` without pandas.

    Spleeter imports pandas only to read the CSV files from which it trains.

    For Spleeter 2.4.2. Saves 0.3 s of start-up. Delete it once Spleeter imports pandas only when it
    trains.

    Raises:
        UserError: it is not installed.
    """
    require_installed("spleeter")
    with _replaced(pandas=types.ModuleType("pandas")):
        from spleeter.model import EstimatorSpecBuilder  # noqa: PLC0415

        return EstimatorSpecBuilder


def freeze_graph(tf: Any, output: Any, checkpoint: Any) -> Any:
    """Returns the graph of an output with its variables as constants.

    TensorFlow merges constants into the operations that use them, which it can't do with variables.
    Its own converter starts a session with a second copy of the network.

    For TensorFlow 2.12 and networks whose variables are resources. Saves half of the time of a
    window of Spleeter's U-Nets and takes 0.5 GB more memory, but 0.9 GB less than TensorFlow's
    converter. Delete it together with `spleeter_separator`.

    Args:
        tf: the module.
        output: the tensor whose graph is wanted.
        checkpoint: the reader of a checkpoint that has the variables by their names.
    """
    graph = tf.compat.v1.graph_util.extract_sub_graph(output.graph.as_graph_def(), [output.op.name])
    for node in graph.node:
        if node.op == "VarHandleOp":
            value = tf.make_tensor_proto(checkpoint.get_tensor(node.name))
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = value.dtype
            node.attr["value"].tensor.CopyFrom(value)
        elif node.op == "ReadVariableOp":
            node.op = "Identity"
            node.attr["T"].CopyFrom(node.attr.pop("dtype"))
    return graph


@contextlib.contextmanager
def for_inference(tf: Any) -> Iterator[None]:
    """Builds Keras layers for inference only while the block runs.

    Spleeter does not say if its networks are for training, so that both branches are built.

    For TensorFlow 2.12 and Spleeter 2.4.2. Saves half of the time of building the networks. Delete
    it once Spleeter passes `training` to its layers.
    """
    with warnings.catch_warnings():
        # Deprecated in favour of the argument that Spleeter does not pass.
        warnings.simplefilter("ignore", UserWarning)
        with tf.compat.v1.keras.backend.learning_phase_scope(0):
            yield


@contextlib.contextmanager
def cheap_transposed_convolutions(tf: Any) -> Iterator[None]:
    """Computes transposed convolutions of one filter as plain convolutions while the block runs.

    A transposed convolution of stride 2 is one convolution for each of the four places in a square
    of 2 by 2 (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016).
    A U-Net ends with one of a single filter, which TensorFlow computes slowly on a CPU.

    For TensorFlow 2.12. Saves half of the time of that layer. Delete it once
    `bench/separation.py short` shows no difference without it.
    """
    layer = tf.keras.layers.Conv2DTranspose
    transpose = layer.call

    def call(self: Any, inputs: Any) -> Any:
        if self.filters > 1:
            return transpose(self, inputs)
        _, height, width, num_channels = inputs.shape
        # An output at an even place takes the odd rows and columns of the [5, 5] kernel.
        kernel = tf.reverse(tf.pad(self.kernel, [[1, 0], [1, 0], [0, 0], [0, 0]]), [0, 1])
        kernel = tf.reverse(tf.reshape(kernel, [3, 2, 3, 2, num_channels]), [1, 3])
        kernel = tf.reshape(tf.transpose(kernel, [0, 2, 4, 1, 3]), [3, 3, num_channels, 4])
        places = tf.reshape(tf.nn.conv2d(inputs, kernel, 1, "SAME"), [-1, height, width, 2, 2])
        outputs = tf.reshape(tf.transpose(places, [0, 1, 3, 2, 4]), [-1, 2 * height, 2 * width, 1])
        return tf.nn.bias_add(outputs, self.bias)

    layer.call = call
    try:
        yield
    finally:
        layer.call = transpose


def _hidden(*names: str) -> contextlib.AbstractContextManager[None]:
    """Makes imports of some modules fail while the block runs."""
    return _replaced(**dict.fromkeys(names))


@contextlib.contextmanager
def _replaced(**replacements: types.ModuleType | None) -> Iterator[None]:
    """Makes imports find other modules, or none, unless the real one is imported already."""
    replaced = {name: module for name, module in replacements.items() if name not in sys.modules}
    sys.modules.update(replaced)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in replaced:
            del sys.modules[name]
