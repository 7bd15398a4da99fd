"""Running a model on batches of windows; TensorFlow is imported when the first one is loaded."""

import concurrent.futures
import contextlib
import os
import sys
import tempfile
import threading
import types
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


class Separator(Protocol):
    """A loaded model. Threads may share one; no process that has one may fork."""

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
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads or os.cpu_count())
        frame = np.arange(self._frame_length) / self._frame_length
        self._analysis_window = (np.sin(np.pi * frame) ** 2).astype(np.float32)
        tf = _import_tensorflow()
        builder_class = _import_spleeter_builder()
        self._synthesis_window = self._analysis_window * np.float32(
            builder_class.WINDOW_COMPENSATION_FACTOR
        )
        num_frames, num_channels = configuration["T"], model.num_channels
        num_bins = configuration["F"]
        with tf.Graph().as_default() as graph:
            self._magnitudes = tf.compat.v1.placeholder(
                tf.float32, [None, num_frames, num_bins, num_channels]
            )
            batch = tf.shape(self._magnitudes)[0]
            mix = configuration["mix_name"]
            features = {
                f"{mix}_spectrogram": self._magnitudes,
                # Spleeter's masks take nothing from it but the number of frames.
                f"{mix}_stft": tf.zeros([batch * num_frames, 0]),
            }
            masks_by_source = builder_class(features, configuration).masks
            masks = tf.stack([masks_by_source[name] for name in model.source_names])
            if masks.shape[-1] not in (None, num_channels):
                raise ModelError(
                    f"{model.name}: the network has {masks.shape[-1]} output channels, but its "
                    f"configuration says n_channels {num_channels}"
                )
            shape = [len(model.source_names), batch, num_frames, masks.shape[-2], num_channels]
            # [sources, batch, channels, frames, bins]: a frame's bins lie together for the FFT.
            self._masks = tf.transpose(tf.reshape(masks, shape), [0, 1, 4, 2, 3])
            self._session = tf.compat.v1.Session(
                graph=graph,
                config=tf.compat.v1.ConfigProto(
                    intra_op_parallelism_threads=num_threads, inter_op_parallelism_threads=1
                ),
            )
            prefix = os.path.join(folder, model.checkpoint)
            # Saver would take over any shape without a word.
            shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
            for variable in tf.compat.v1.global_variables():
                if shapes.get(variable.op.name) != variable.shape.as_list():
                    raise ModelError(
                        f"{model.folder}: the checkpoint is not one of {model.name}: it has no "
                        f"{variable.op.name} of shape {variable.shape.as_list()}"
                    )
            tf.compat.v1.train.Saver().restore(self._session, prefix)

    def separate(self, windows: Samples) -> Samples:
        batch, length, num_channels = windows.shape
        magnitudes = np.empty((batch, *self._magnitudes.shape[1:]), np.float32)
        sources = np.empty((batch, self._masks.shape[0], length, num_channels), np.float32)

        # One channel of one window at a time, a thread for each core: arrays of more than that
        # leave the cache, and the work around the FFT then takes longer than the FFT.
        def analyse(place: tuple[int, int]) -> Any:
            item, channel = place
            spectra = self._stft(windows[item, :, channel])
            magnitudes[item, :, :, channel] = np.abs(spectra[:, : magnitudes.shape[2]])
            return spectra

        def synthesise(place: tuple[int, int], spectra: Any) -> None:
            item, channel = place
            for source, mask in enumerate(masks[:, item, channel]):
                sources[item, source, :, channel] = self._inverse_stft(mask * spectra)[:length]

        places = list(np.ndindex(batch, num_channels))
        all_spectra = list(self._threads.map(analyse, places))
        with _ONE_AT_A_TIME:
            masks = self._session.run(self._masks, {self._magnitudes: magnitudes})
        list(self._threads.map(synthesise, places, all_spectra))
        return sources

    def _stft(self, signal: Samples) -> Any:
        """complex64 [frames, bins] of float32 [samples]."""
        frames = np.lib.stride_tricks.sliding_window_view(signal, self._frame_length)
        return scipy.fft.rfft(frames[:: self._frame_step] * self._analysis_window)

    def _inverse_stft(self, spectra: Any) -> Samples:
        """float32 [samples] of complex64 [frames, bins]."""
        frames = scipy.fft.irfft(spectra, self._frame_length, overwrite_x=True)
        step, num_frames = self._frame_step, len(frames)
        steps = np.zeros((num_frames - 1 + -(-self._frame_length // step), step), np.float32)
        for first, start in enumerate(range(0, self._frame_length, step)):
            part = frames[:, start : start + step] * self._synthesis_window[start : start + step]
            steps[first : first + num_frames, : part.shape[1]] += part
        return steps.reshape(-1)


def _import_tensorflow() -> Any:
    # TensorFlow takes a second longer to import where these are installed, and has no use for them.
    with _modules(jax=None, pandas=None):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf  # noqa: PLC0415

        tf.get_logger().setLevel("ERROR")
        return tf


def _import_spleeter_builder() -> Any:
    # Spleeter needs pandas to read the CSV files that it trains from, and only for that.
    with _modules(pandas=types.ModuleType("pandas")):
        from spleeter.model import EstimatorSpecBuilder  # noqa: PLC0415

        return EstimatorSpecBuilder


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
