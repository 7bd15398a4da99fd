"""Telling voices apart: the SavedModel that turns a piece of speech into a speaker embedding."""

import os

import numpy as np
import numpy.typing as npt
import soxr

from beam_jobs.runtime.workarounds import import_tensorflow
from beam_jobs.separation.models import VOICE_MODEL
from beam_jobs.separation.tensorflow_lock import ONE_AT_A_TIME
from beam_jobs.storage import files
from schemas.bundle import SAVED_MODEL
from schemas.pcm import Samples
from schemas.voice_model import VOICES, parse_voice_model

Embeddings = npt.NDArray[np.float32]
"""Unit vectors, float32 [pieces, dimension]: near 1 in product for one voice, near 0 for two."""

PIECE_S = 1.1
"""The length of a piece of speech, in seconds: enough to tell a voice, and little of two."""

_BATCH_SIZE = 32


class VoiceEmbedder:
    """A voice model that is loaded. Threads may share it, as they share a `Separator`."""

    def __init__(self, sample_rate: int) -> None:
        """Loads the voice model that all joint models share.

        Args:
            sample_rate: of the pieces, in Hz.
        """
        self._tf = tf = import_tensorflow()
        path = files.join(VOICE_MODEL, VOICES)
        self._model_rate = parse_voice_model(files.read_text(path), path).sample_rate
        self._sample_rate = sample_rate
        # Keep the SavedModel: its functions do not outlive it.
        self._saved_model = tf.saved_model.load(os.path.join(VOICE_MODEL, SAVED_MODEL))
        self._signature = self._saved_model.signatures["serving_default"]

    def embed(self, pieces: Samples) -> Embeddings:
        """Embeds pieces of speech, each of one speaker.

        Args:
            pieces: float32 [pieces, samples], `PIECE_S` long each.

        Returns:
            float32 [pieces, dimension].
        """
        if self._sample_rate != self._model_rate:
            pieces = soxr.resample(pieces.T, self._sample_rate, self._model_rate).T
        embeddings = []
        for start in range(0, len(pieces), _BATCH_SIZE):
            batch = pieces[start : start + _BATCH_SIZE]
            # All batches have one shape, so that TensorFlow prepares its graph once.
            padded = np.concatenate([batch, np.repeat(batch[:1], _BATCH_SIZE - len(batch), axis=0)])
            with ONE_AT_A_TIME:
                embedded = self._signature(waveform=self._tf.constant(padded))["embedding"].numpy()
            embeddings.append(embedded[: len(batch)])
        return np.concatenate(embeddings)
