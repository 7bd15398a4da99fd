"""TODO."""

import concurrent.futures
import os
from typing import Any

import numpy as np
import scipy.fft

from beam_jobs.runtime.workarounds import (
    cheap_transposed_convolutions,
    for_inference,
    freeze_graph,
    import_spleeter_builder,
    import_tensorflow,
)
from beam_jobs.separation.models import Model, ModelError
from schemas.pcm import Samples

# Frames of an STFT at once: with more, their arrays leave the cache, and the work around the FFT
# takes longer than the FFT.
_CACHED_FRAMES = 32


class _SpleeterSeparator:
    """Spleeter's networks and masks, with the STFT outside of TensorFlow.

    TensorFlow's FFT on a CPU takes ten times as long as SciPy's: longer than the networks.
    """

    def __init__(self, model: Model, folder: str, num_threads: int) -> None:
        configuration = dict(model.spleeter)
        self._frame_length: int = configuration["frame_length"]
        self._frame_step: int = configuration["frame_step"]
        num_threads = num_threads or os.cpu_count() or 1
        self.batch_size = 2 * num_threads
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads)
        frame = np.arange(self._frame_length) / self._frame_length
        self._analysis_window = (np.sin(np.pi * frame) ** 2).astype(np.float32)
        tf = import_tensorflow()
        builder_class = import_spleeter_builder()
        self._synthesis_window = self._analysis_window * np.float32(
            builder_class.WINDOW_COMPENSATION_FACTOR
        )
        num_frames, num_channels = configuration["T"], model.num_channels
        num_bins = configuration["F"]
        with tf.Graph().as_default():
            magnitudes = tf.compat.v1.placeholder(
                tf.float32, [1, num_frames, num_bins, num_channels]
            )
            mix = configuration["mix_name"]
            features = {
                f"{mix}_spectrogram": magnitudes,
                # Spleeter's masks take nothing from it but the number of frames.
                f"{mix}_stft": tf.zeros([num_frames, 0]),
            }
            with for_inference(tf), cheap_transposed_convolutions(tf):
                masks_by_source = builder_class(features, configuration).masks
            masks = tf.stack([masks_by_source[name] for name in model.source_names])
            if masks.shape[-1] not in (None, num_channels):
                raise ModelError(
                    f"{model.name}: the network has {masks.shape[-1]} output channels, but its "
                    f"configuration says n_channels {num_channels}"
                )
            # [sources, frames, bins, channels]; Spleeter masks all bins alike that the network does
            # not see.
            masks = masks[:, :, : num_bins + 1]
            checkpoint = tf.train.load_checkpoint(os.path.join(folder, model.checkpoint))
            shapes = checkpoint.get_variable_to_shape_map()
            for variable in tf.compat.v1.global_variables():
                if shapes.get(variable.op.name) != variable.shape.as_list():
                    raise ModelError(
                        f"{model.folder}: the checkpoint is not one of {model.name}: it has no "
                        f"{variable.op.name} of shape {variable.shape.as_list()}"
                    )
        with tf.Graph().as_default() as graph:
            self._magnitudes, self._masks = tf.import_graph_def(
                freeze_graph(tf, masks, checkpoint),
                return_elements=[magnitudes.name, masks.name],
                name="",
            )
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=num_threads, inter_op_parallelism_threads=1
        )
        # It has no use for the graph as it was before TensorFlow made the best of it.
        config.experimental.optimize_for_static_graph = True
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        # Threads run it without `_ONE_AT_A_TIME`, because all windows have one shape. The first run
        # is here: if two began at once, each would prepare the graph, in twice the memory.
        self._session.run(self._masks, {self._magnitudes: np.zeros(self._magnitudes.shape)})

    def separate(self, windows: Samples) -> Samples:
        batch, *shape = windows.shape
        sources = np.empty((batch, self._masks.shape[0], *shape), np.float32)
        list(self._threads.map(self._separate_window, windows, sources))
        return sources

    def _separate_window(self, window: Samples, sources: Samples) -> None:
        """Fills [sources, length, channels] from [length, channels], both float32."""
        magnitudes = np.empty(self._magnitudes.shape, np.float32)
        spectra = [
            self._analyse(signal, magnitudes[0, :, :, channel])
            for channel, signal in enumerate(window.T)
        ]
        masks = self._session.run(self._masks, {self._magnitudes: magnitudes})
        for source, channel in np.ndindex(len(masks), len(spectra)):
            mask = masks[source, :, :, channel]
            self._synthesise(spectra[channel], mask, sources[source, :, channel])

    def _analyse(self, signal: Samples, magnitudes: Samples) -> Any:
        """The STFT, complex64 [frames, bins], of float32 [samples].

        It fills float32 [frames, bins that the network sees], too.
        """
        frames = np.lib.stride_tricks.sliding_window_view(signal, self._frame_length)
        frames = frames[:: self._frame_step]
        spectra = np.empty((len(frames), self._frame_length // 2 + 1), np.complex64)
        for start in range(0, len(frames), _CACHED_FRAMES):
            few = slice(start, start + _CACHED_FRAMES)
            spectra[few] = scipy.fft.rfft(frames[few] * self._analysis_window)
            np.abs(spectra[few, : magnitudes.shape[1]], out=magnitudes[few])
        return spectra

    def _synthesise(self, spectra: Any, mask: Samples, signal: Samples) -> None:
        """Fills float32 [samples] from complex64 [frames, bins] and their float32 mask.

        The mask's last bin counts for all bins from there on.
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
