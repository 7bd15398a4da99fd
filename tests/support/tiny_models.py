"""Tiny models that need no training, and whose effect on a signal is known exactly."""

import importlib.resources
import json
import os

import numpy as np

from beam_jobs.runtime.workarounds import import_tensorflow
from schemas.bundle import Bundle, Provenance, UpperBand

SAMPLE_RATE = 8000
WINDOW_S = 1.0
CONTEXT_S = 0.05


UPPER = UpperBand(
    sample_rate=16000,
    step_s=0.016,
    edges_hz=(3600.0, 5000.0, 8000.0),
    provenance=Provenance("", "", 0, "2026-01-01T00:00:00+00:00"),
)


def save_bundle(folder, function, *, aligned, num_channels=1, share=None):
    """Saves a model of a function, with an upper band if there is a function that shares it."""
    tf = import_tensorflow()
    if share is not None:
        _save_upper_band(tf, folder, share)
    module = tf.Module()
    module.separate = tf.function(
        lambda waveform: {"sources": function(tf, waveform)},
        input_signature=[tf.TensorSpec([None, None, num_channels], tf.float32, name="waveform")],
    )
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=module.separate)
    bundle = Bundle(
        name=folder.name,
        sample_rate=SAMPLE_RATE,
        num_channels=num_channels,
        num_sources=2,
        source_names=("speaker1", "speaker2"),
        aligned=aligned,
        architecture="test.filters",
        window_s=WINDOW_S,
        context_s=CONTEXT_S,
        configuration={},
        metrics={},
        provenance=Provenance("", "", 0, "2026-01-01T00:00:00+00:00"),
        upper_band=None if share is None else UPPER,
    )
    (folder / "bundle.json").write_text(bundle.to_json())
    return folder


def _save_upper_band(tf, folder, share):
    def shares(upper, sources):
        del upper
        frames = tf.signal.frame(sources, 256, 128, pad_end=True)
        levels = tf.sqrt(tf.reduce_mean(frames**2, axis=-1))
        levels = tf.pad(levels, [[0, 0], [0, 0], [0, 1]])
        shared = share(tf, levels)
        return {"shares": tf.repeat(shared[..., tf.newaxis], 2, axis=-1)}

    module = tf.Module()
    module.share = tf.function(
        shares,
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, name="upper"),
            tf.TensorSpec([None, None, None], tf.float32, name="sources"),
        ],
    )
    tf.saved_model.save(module, str(folder / "upper_band"), signatures=module.share)


def to_the_louder(tf, levels):
    """Gives each frame of the upper band to the louder output, [batch, sources, frames]."""
    return tf.cast(levels >= tf.reduce_max(levels, axis=1, keepdims=True), tf.float32)


def low_band(tf, waveform, num_taps=65):
    """Filters out everything above an eighth of the sample rate, without a delay."""
    time = np.arange(num_taps) - num_taps // 2
    taps = np.sinc(time / 4) / 4 * np.hamming(num_taps)
    kernel = tf.constant(taps[:, None, None], tf.float32)
    mono = tf.reshape(tf.transpose(waveform, [0, 2, 1]), [-1, tf.shape(waveform)[1], 1])
    low = tf.nn.conv1d(mono, kernel, 1, "SAME")
    shape = [tf.shape(waveform)[0], waveform.shape[2], tf.shape(waveform)[1]]
    return tf.transpose(tf.reshape(low, shape), [0, 2, 1])


def split_bands(tf, waveform):
    low = low_band(tf, waveform)
    return tf.stack([low, waveform - low], axis=1)


def split_bands_in_any_order(tf, waveform):
    """Swaps the two bands of every other window or so, depending on the window's samples."""
    bands = split_bands(tf, waveform)
    digest = tf.reduce_sum(tf.cast(tf.abs(waveform) * 32768, tf.int64), axis=[1, 2])
    swap = tf.equal(digest % 2, 1)[:, None, None, None]
    return tf.where(swap, bands[:, ::-1], bands)


def save_spleeter_model(folder, stock_name, **changes):
    """Saves random weights for a stock configuration with changes, such as a smaller network.

    Returns the configuration's path, and a function that separates a whole signal with Spleeter.
    """
    tf = import_tensorflow()
    from spleeter.model import EstimatorSpecBuilder, InputProviderFactory  # noqa: PLC0415

    resource = importlib.resources.files("spleeter").joinpath("resources", f"{stock_name}.json")
    configuration = json.loads(resource.read_text()) | {"model_dir": str(folder)} | changes
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default():
        tf.compat.v1.set_random_seed(0)
        # Spleeter's estimator expects it in every checkpoint.
        tf.compat.v1.train.create_global_step()
        provider = InputProviderFactory.get(configuration)
        features = provider.get_input_dict_placeholders()
        outputs = EstimatorSpecBuilder(features, configuration).outputs
        sources = tf.stack([outputs[name] for name in configuration["instrument_list"]])
        # With their initial values, batch normalisation would do nothing.
        shifts = [
            tf.compat.v1.assign(variable, tf.random.uniform(variable.shape, 0.2, 1, seed=index))
            for index, variable in enumerate(tf.compat.v1.global_variables())
            if "moving_" in variable.name or "beta" in variable.name
        ]
        saver = tf.compat.v1.train.Saver()
        session = tf.compat.v1.Session()
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(shifts)
        saver.save(session, os.path.join(folder, "model"), write_meta_graph=False)
    (folder / ".probe").write_text("OK")
    path = folder / "configuration.json"
    path.write_text(json.dumps(configuration))

    def separate_whole_file(signal):
        return session.run(sources, provider.get_feed_dict(features, signal, "signal"))

    return path, separate_whole_file


SMALL = {
    "sample_rate": SAMPLE_RATE,
    "frame_length": 512,
    "frame_step": 128,
    "T": 64,
    "F": 192,
}
