"""Running Spleeter's networks, with their STFT computed by SciPy.

TensorFlow's FFT takes ten times as long as SciPy's on a CPU, which is longer than the networks.
"""

import concurrent.futures
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from beam_jobs.runtime.workarounds import (
    cheap_transposed_convolutions,
    for_inference,
    freeze_graph,
    import_spleeter_builder,
    import_tensorflow,
)
from beam_jobs.separation.models import Model, ModelError
from beam_jobs.separation.upper_band import UpperBandSharer
from beam_jobs.separation.voice_embedder import VoiceEmbedder
from schemas.pcm import Samples

Spectra = npt.NDArray[np.complex64]

# Frames of an STFT at once. With more, their arrays leave the cache, and then the work around the
# FFT takes longer than the FFT.
_CACHED_FRAMES = 32


class SpleeterSeparator:
    """Spleeter's networks and masks as a `Separator`."""

    def __init__(self, model: Model, folder: str, num_threads: int) -> None:
        """Builds the networks with the weights of a checkpoint.

        Args:
            model: its description.
            folder: a local folder with its checkpoint.
            num_threads: the threads that compute; 0 is one for each core.

        Raises:
            ModelError: the configuration or the checkpoint does not fit the networks.
        """
        num_threads = num_threads or os.cpu_count() or 1
        self.batch_size = 2 * num_threads
        # Each of Spleeter's outputs is the same source in every window.
        self.embedder: VoiceEmbedder | None = None
        self.sharer: UpperBandSharer | None = None
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads)
        self._stft = _Stft(
            model.spleeter["frame_length"],
            model.spleeter["frame_step"],
            import_spleeter_builder().WINDOW_COMPENSATION_FACTOR,
        )
        self._magnitudes, self._masks = _build_networks(model, folder)
        self._session = _start_session(self._masks.graph, num_threads)
        # Threads run it at the same time, as all windows have one shape, unlike a bundle's. The
        # first run is here: two at once would each optimise the graph, in twice the memory.
        self._session.run(self._masks, {self._magnitudes: np.zeros(self._magnitudes.shape)})

    def separate(self, windows: Samples) -> Samples:
        """Separates windows, as `Separator` says."""
        batch, *shape = windows.shape
        sources = np.empty((batch, self._masks.shape[0], *shape), np.float32)
        list(self._threads.map(self._separate_window, windows, sources))
        return sources

    def _separate_window(self, window: Samples, sources: Samples) -> None:
        """Fills [sources, length, channels] from [length, channels], both float32."""
        magnitudes = np.empty(self._magnitudes.shape, np.float32)
        spectra = [
            self._stft.analyse(signal, magnitudes[0, :, :, channel])
            for channel, signal in enumerate(window.T)
        ]
        masks = self._session.run(self._masks, {self._magnitudes: magnitudes})
        for source, channel in np.ndindex(len(masks), len(spectra)):
            mask = masks[source, :, :, channel]
            self._stft.synthesise(spectra[channel], mask, sources[source, :, channel])


def _build_networks(model: Model, folder: str) -> tuple[Any, Any]:
    """Builds the networks in a graph of their own, with their weights as constants.

    Returns:
        The input, magnitudes of a window, float32 [1, frames, bins, channels]; and the output,
        masks, float32 [sources, frames, bins + 1, channels]. The last bin of a mask is for all
        bins that the networks do not see, which Spleeter masks alike.
    """
    tf = import_tensorflow()
    configuration = dict(model.spleeter)
    num_frames, num_bins = configuration["T"], configuration["F"]
    with tf.Graph().as_default():
        magnitudes = tf.compat.v1.placeholder(
            tf.float32, [1, num_frames, num_bins, model.num_channels]
        )
        mix = configuration["mix_name"]
        features = {
            f"{mix}_spectrogram": magnitudes,
            # Spleeter's masks take only the number of frames from it.
            f"{mix}_stft": tf.zeros([num_frames, 0]),
        }
        with for_inference(tf), cheap_transposed_convolutions(tf):
            masks_by_source = import_spleeter_builder()(features, configuration).masks
        masks = tf.stack([masks_by_source[name] for name in model.source_names])
        if masks.shape[-1] not in (None, model.num_channels):
            raise ModelError(
                f"{model.name}: the network has {masks.shape[-1]} output channels, but its "
                f"configuration says n_channels {model.num_channels}"
            )
        masks = masks[:, :, : num_bins + 1]
        checkpoint = tf.train.load_checkpoint(os.path.join(folder, model.checkpoint))
        _check_variables(tf.compat.v1.global_variables(), checkpoint, model)
    with tf.Graph().as_default():
        frozen_magnitudes, frozen_masks = tf.import_graph_def(
            freeze_graph(tf, masks, checkpoint),
            return_elements=[magnitudes.name, masks.name],
            name="",
        )
    return frozen_magnitudes, frozen_masks


def _check_variables(variables: Any, checkpoint: Any, model: Model) -> None:
    shapes = checkpoint.get_variable_to_shape_map()
    for variable in variables:
        if shapes.get(variable.op.name) != variable.shape.as_list():
            raise ModelError(
                f"{model.folder}: the checkpoint is not one of {model.name}: it has no "
                f"{variable.op.name} of shape {variable.shape.as_list()}"
            )


def _start_session(graph: Any, num_threads: int) -> Any:
    tf = import_tensorflow()
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=num_threads, inter_op_parallelism_threads=1
    )
    # Frees the graph as it was before TensorFlow optimised it.
    config.experimental.optimize_for_static_graph = True
    return tf.compat.v1.Session(graph=graph, config=config)


class _Stft:
    """Spleeter's STFT and its inverse, with Hann windows for both."""

    def __init__(self, frame_length: int, frame_step: int, compensation: float) -> None:
        """Takes lengths in samples, and what the windows' overlap has to be scaled by."""
        self._frame_length = frame_length
        self._frame_step = frame_step
        frame = np.arange(frame_length) / frame_length
        self._analysis_window = (np.sin(np.pi * frame) ** 2).astype(np.float32)
        self._synthesis_window = self._analysis_window * np.float32(compensation)

    def analyse(self, signal: Samples, magnitudes: Samples) -> Spectra:
        """Computes the STFT of a signal.

        Args:
            signal: float32 [samples].
            magnitudes: filled with the magnitudes of the first bins, float32 [frames, bins].

        Returns:
            The STFT with all bins, complex64 [frames, bins].
        """
        frames = np.lib.stride_tricks.sliding_window_view(signal, self._frame_length)
        frames = frames[:: self._frame_step]
        spectra = np.empty((len(frames), self._frame_length // 2 + 1), np.complex64)
        for start in range(0, len(frames), _CACHED_FRAMES):
            few = slice(start, start + _CACHED_FRAMES)
            spectra[few] = scipy.fft.rfft(frames[few] * self._analysis_window)
            np.abs(spectra[few, : magnitudes.shape[1]], out=magnitudes[few])
        return spectra

    def synthesise(self, spectra: Spectra, mask: Samples, signal: Samples) -> None:
        """Computes the signal of a masked STFT.

        Args:
            spectra: complex64 [frames, bins].
            mask: float32 [frames, bins], perhaps of fewer bins; its last bin masks all bins from
                there on.
            signal: filled with the signal, float32 [samples].
        """
        step, last = self._frame_step, mask.shape[1] - 1
        num_steps = -(-self._frame_length // step)
        steps = np.zeros((len(spectra) - 1 + num_steps, step), np.float32)
        for start in range(0, len(spectra), _CACHED_FRAMES):
            few = slice(start, start + _CACHED_FRAMES)
            masked = np.empty_like(spectra[few])
            np.multiply(spectra[few, :last], mask[few, :last], out=masked[:, :last])
            np.multiply(spectra[few, last:], mask[few, last:], out=masked[:, last:])
            frames = scipy.fft.irfft(masked, self._frame_length, overwrite_x=True)
            frames *= self._synthesis_window
            for number in range(num_steps):
                part = frames[:, number * step : (number + 1) * step]
                first = start + number
                steps[first : first + len(part), : part.shape[1]] += part
        signal[:] = steps.reshape(-1)[: len(signal)]
