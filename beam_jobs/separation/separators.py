"""Running a model on batches of windows; TensorFlow is imported when the first one is loaded."""

import concurrent.futures
import contextlib
import os
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import scipy.fft

from beam_jobs import files
from beam_jobs.separation.framing import Samples
from beam_jobs.separation.models import Model, ModelError, copy_model
from schemas.bundle import SAVED_MODEL

# TensorFlow 2.12's oneDNN kernels corrupt the heap where threads run one model at once on inputs of
# different shapes. A call uses all cores, so waiting for each other costs next to nothing.
_ONE_AT_A_TIME = threading.Lock()

# Samples of one channel that a bundle is given at once: four times as many took twice the memory
# with the model that ships, and were no faster.
_BATCH_SAMPLES = 1 << 18

# Frames of an STFT at once: with more, their arrays leave the cache, and the work around the FFT
# takes longer than the FFT.
_CACHED_FRAMES = 32


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
        self._tf = tf = _import_tensorflow()
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
        tf = _import_tensorflow()
        builder_class = _import_spleeter_builder()
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
            with _not_training(tf), _as_convolutions(tf):
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
                _freeze(tf, masks, checkpoint),
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


def _import_tensorflow() -> Any:
    # TensorFlow takes a second longer to import where these are installed, and has no use for them.
    with _modules(jax=None, pandas=None):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        # By itself it leaves oneDNN off on processors without AVX-512, where Spleeter's networks
        # take a third less time with it.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        import tensorflow as tf  # noqa: PLC0415

        tf.get_logger().setLevel("ERROR")
        return tf


def _import_spleeter_builder() -> Any:
    # Spleeter needs pandas to read the CSV files that it trains from, and only for that.
    with _modules(pandas=types.ModuleType("pandas")):
        from spleeter.model import EstimatorSpecBuilder  # noqa: PLC0415

        return EstimatorSpecBuilder


def _freeze(tf: Any, output: Any, checkpoint: Any) -> Any:
    """The graph of an output, its variables constants with the values that a checkpoint has.

    TensorFlow joins constants with what uses them beforehand: the same network takes half the time.
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
def _not_training(tf: Any) -> Iterator[None]:
    """Networks that are known not to train take half the time to build."""
    with warnings.catch_warnings():
        # Deprecated in favour of an argument that Spleeter does not pass to its layers.
        warnings.simplefilter("ignore", UserWarning)
        with tf.compat.v1.keras.backend.learning_phase_scope(0):
            yield


@contextlib.contextmanager
def _as_convolutions(tf: Any) -> Iterator[None]:
    """Computes what a U-Net ends with in half the time: transposed convolutions of one filter.

    A transposed convolution of stride 2 is a convolution for each of the four places in a square of
    2 by 2 (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016).
    """
    layer = tf.keras.layers.Conv2DTranspose
    transpose = layer.call

    def call(self: Any, inputs: Any) -> Any:
        if self.filters > 1:
            return transpose(self, inputs)
        _, height, width, num_channels = inputs.shape
        # What [5, 5] has for an output at an even place is in its odd rows and columns.
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


@contextlib.contextmanager
def _modules(**replacements: types.ModuleType | None) -> Iterator[None]:
    """Imports find these, or where None, nothing, unless the module has been imported already."""
    replaced = {name: module for name, module in replacements.items() if name not in sys.modules}
    sys.modules.update(replaced)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in replaced:
            del sys.modules[name]
