"""Running a model on batches of windows; TensorFlow is imported when the first one is loaded."""

import contextlib
import os
import tempfile
import threading
from typing import Protocol

from beam_jobs.runtime.workarounds import import_tensorflow
from beam_jobs.separation.models import Model, ModelError, copy_model
from beam_jobs.separation.spleeter_separator import _SpleeterSeparator
from beam_jobs.storage import files
from schemas.bundle import SAVED_MODEL
from schemas.pcm import Samples

# TensorFlow 2.12's oneDNN kernels corrupt the heap where threads run one model at once on inputs of
# different shapes. A call uses all cores, so waiting for each other costs next to nothing.
_ONE_AT_A_TIME = threading.Lock()

# Samples of one channel that a bundle is given at once: four times as many took twice the memory
# with the model that ships, and were no faster.
_BATCH_SAMPLES = 1 << 18


class Separator(Protocol):
    """A loaded model. Threads may share one; no process that has one may fork.

    Attributes:
        batch_size: how many windows at once keep all cores busy.
    """

    batch_size: int

    def separate(self, windows: Samples) -> Samples:
        """Separates windows.

        Args:
            windows: float32 [batch, length, channels], as the model's framing and channels say.

        Returns:
            float32 [batch, sources, length, channels].
        """


def load_separator(model: Model, num_threads: int = 0) -> Separator:
    """Loads a model.

    Args:
        model: what to load.
        num_threads: how many threads compute; 0 is one for each core.

    Raises:
        ModelError: the checkpoint is of another model than its configuration describes.
    """
    if not files.is_remote(model.folder):
        return _load_local(model, model.folder, num_threads)
    with tempfile.TemporaryDirectory() as folder:
        copy_model(model, folder)
        return _load_local(model, folder, num_threads)


def _load_local(model: Model, folder: str, num_threads: int) -> Separator:
    if model.spleeter:
        return _SpleeterSeparator(model, folder, num_threads)
    return _BundleSeparator(model, folder, num_threads)


class _BundleSeparator:
    """A SavedModel."""

    def __init__(self, model: Model, folder: str, num_threads: int) -> None:
        self._tf = tf = import_tensorflow()
        # Only the first model of a process can choose, before TensorFlow has started its threads.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(num_threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        # The functions of a SavedModel live only as long as itself.
        self._saved_model = tf.saved_model.load(os.path.join(folder, SAVED_MODEL))
        signature = self._saved_model.signatures.get("serving_default")
        if signature is None:
            raise ModelError(f"{model.folder}: its SavedModel has no default signature")
        self._signature = signature
        self.batch_size = max(1, _BATCH_SAMPLES // model.framing.length)

    def separate(self, windows: Samples) -> Samples:
        with _ONE_AT_A_TIME:
            sources = self._signature(waveform=self._tf.constant(windows))["sources"]
        return sources.numpy()  # type: ignore[no-any-return]
