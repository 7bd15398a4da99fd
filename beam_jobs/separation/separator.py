"""The interface of a model that separates windows, and the function that loads one."""

import tempfile
from typing import Protocol

from beam_jobs.separation.bundle_separator import BundleSeparator
from beam_jobs.separation.models import Model, copy_model
from beam_jobs.separation.spleeter_separator import SpleeterSeparator
from beam_jobs.separation.upper_band import UpperBandSharer
from beam_jobs.separation.voice_embedder import VoiceEmbedder
from beam_jobs.storage import files
from schemas.pcm import Samples


class Separator(Protocol):
    """A loaded model. Threads may share it; a process that has loaded one must not fork.

    Attributes:
        batch_size: the number of windows at once that keeps all cores busy.
        embedder: tells voices apart if the model's outputs may swap; None if they never do.
        sharer: gives the outputs what is above the model's band; None if it can't.
    """

    batch_size: int
    embedder: VoiceEmbedder | None
    sharer: UpperBandSharer | None

    def separate(self, windows: Samples) -> Samples:
        """Separates windows.

        Args:
            windows: float32 [batch, length, channels], with the length of the model's framing and
                the model's number of channels.

        Returns:
            float32 [batch, sources, length, channels].
        """


def load_separator(model: Model, num_threads: int = 0) -> Separator:
    """Loads a model; TensorFlow is first imported here.

    Args:
        model: what to load.
        num_threads: the threads that compute; 0 is one for each core.

    Raises:
        ModelError: the files are not of the model that its description says.
    """
    if not files.is_remote(model.folder):
        return _load_local(model, model.folder, num_threads)
    with tempfile.TemporaryDirectory() as folder:
        copy_model(model, folder)
        return _load_local(model, folder, num_threads)


def _load_local(model: Model, folder: str, num_threads: int) -> Separator:
    if model.spleeter:
        return SpleeterSeparator(model, folder, num_threads)
    return BundleSeparator(model, folder, num_threads)
