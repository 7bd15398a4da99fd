"""Running the SavedModel of a bundle."""

import contextlib

from beam_jobs.runtime.workarounds import import_tensorflow
from beam_jobs.separation.models import Model
from beam_jobs.separation.saved_model import load_signature
from beam_jobs.separation.tensorflow_lock import ONE_AT_A_TIME
from beam_jobs.separation.upper_band import UpperBandSharer
from beam_jobs.separation.voice_embedder import VoiceEmbedder
from schemas.bundle import SAVED_MODEL
from schemas.pcm import Samples

# Samples of one channel in a batch. With the model that ships, four times as many took twice the
# memory and were no faster.
_BATCH_SAMPLES = 1 << 18


class BundleSeparator:
    """The SavedModel of a bundle as a `Separator`."""

    def __init__(self, model: Model, folder: str, num_threads: int) -> None:
        """Loads the model.

        Args:
            model: its description.
            folder: a local folder with its files.
            num_threads: the threads that compute; 0 is one for each core.

        Raises:
            ModelError: the SavedModel is damaged, or can't be called.
        """
        self._tf = tf = import_tensorflow()
        # Only the first model in a process has a choice, before TensorFlow starts its threads.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(num_threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        # Keep the SavedModel: its functions do not outlive it.
        self._saved_model, self._signature = load_signature(model, folder, SAVED_MODEL)
        self.batch_size = max(1, _BATCH_SAMPLES // model.framing.length)
        self.embedder = None if model.aligned else VoiceEmbedder(model.sample_rate)
        self.sharer = (
            None if model.upper_band is None else UpperBandSharer(model, model.upper_band, folder)
        )

    def separate(self, windows: Samples) -> Samples:
        """Separates windows, as `Separator` says."""
        with ONE_AT_A_TIME:
            sources = self._signature(waveform=self._tf.constant(windows))["sources"]
        return sources.numpy()  # type: ignore[no-any-return]
