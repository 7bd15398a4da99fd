"""The loop that trains speaker embeddings: steps, checkpoints, and the log."""

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from schemas.errors import UserError
from schemas.voice_configuration import VoiceConfiguration
from schemas.voice_model import VOICES
from training.local_files import write_text
from training.model_dir import naming_damage, save_checkpoint
from training.output_folder import make_folder
from training.saved_models import load_saved_model
from training.training_loop import stop_signals
from training.voices.batches import Batches
from training.voices.network import build_network, embed, log_mel_bands
from training.voices.packed_speech import open_speech
from training.voices.trials import evaluate, format_trials

_LOG = logging.getLogger(__name__)

CONFIGURATION = "configuration.json"
_VOICES = "voices.txt"

_SAVE_EVERY_S = 120
_REPORT_STEPS = 50


def train(
    configuration: VoiceConfiguration,
    speech: Path,
    model_dir: Path,
    *,
    start_from: Path | None = None,
    max_minutes: float = math.inf,
) -> None:
    """Trains until the steps or the minutes are over, or a signal comes.

    Args:
        configuration: of the network and of training.
        speech: the folder of packed speech.
        model_dir: the folder of the model; training goes on from what it holds.
        start_from: the folder of the model whose network a new one begins with, if not with chance,
            trained or exported; the voices may be others.
        max_minutes: counted from now.

    Raises:
        UserError: no speech, speech at another rate, or a folder with another model.
    """
    packed = open_speech(speech)
    _prepare(model_dir, configuration)
    names = model_dir / _VOICES
    known = names.read_text("utf-8").splitlines() if names.exists() else ()
    batches = Batches(packed, configuration, known)
    write_text(names, "".join(f"{voice}\n" for voice in batches.voices))
    state = TrainingState(configuration, batches.num_labels)
    checkpoints = tf.train.CheckpointManager(state.checkpoint, str(model_dir), max_to_keep=2)
    if start_from is not None and not checkpoints.latest_checkpoint:
        _begin_with(state.network, start_from)
    if checkpoints.latest_checkpoint:
        with naming_damage(checkpoints.latest_checkpoint):
            state.checkpoint.restore(checkpoints.latest_checkpoint)
    _LOG.info("%d voices, %d weights", len(batches.voices), state.network.count_params())
    started_s = saved_s = time.monotonic()
    step, losses = int(state.step), []
    with stop_signals() as is_stopped, ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(batches.__getitem__, step)
        while step < configuration.num_steps and not is_stopped():
            batch = following.result()
            following = ahead.submit(batches.__getitem__, step + 1)
            losses.append(float(state.take_step(batch.waveform, batch.labels)))
            step += 1
            if not math.isfinite(losses[-1]):
                raise UserError(f"{model_dir}: the loss is not a number at step {step}")
            now_s = time.monotonic()
            if step % _REPORT_STEPS == 0:
                _LOG.info(
                    "step %d/%d: loss %.3f, %.0f s",
                    step,
                    configuration.num_steps,
                    np.mean(losses[-_REPORT_STEPS:]),
                    now_s - started_s,
                )
            if now_s - saved_s > _SAVE_EVERY_S:
                save_checkpoint(checkpoints, step)
                saved_s = now_s
            if now_s - started_s > 60 * max_minutes:
                break
    save_checkpoint(checkpoints, step)
    trials = evaluate(lambda waveform: state.embed(waveform).numpy(), packed, "validation")
    _LOG.info("%s", format_trials(trials))
    if step < configuration.num_steps:
        _LOG.info("stopped at step %d; the same command goes on from here", step)
    else:
        _LOG.info("done: %d steps; training.voices.export makes a model of it", step)


class TrainingState:
    """The state of training: everything that a step changes.

    Attributes:
        network: from bands to embeddings.
        step: steps done.
        take_step: a function of a batch's waveforms [batch, samples] and labels [batch] that takes
            a step and returns the loss.
        embed: a function of waveforms [batch, samples] that returns embeddings.
    """

    def __init__(self, configuration: VoiceConfiguration, num_labels: int) -> None:
        self._configuration = configuration
        tf.keras.utils.set_random_seed(configuration.random_seed)
        self.network = build_network(configuration)
        self.step = tf.Variable(0, dtype=tf.int64)
        self._voices = tf.Variable(
            tf.random.normal([configuration.dimension, num_labels], stddev=0.1), name="voices"
        )
        # A global seed changes the meaning of the seeds in input pipelines.
        tf.random.set_seed(None)
        self._optimizer = tf.keras.optimizers.AdamW(
            configuration.learning_rate, weight_decay=configuration.weight_decay
        )
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self._variables = [*self.network.trainable_variables, self._voices]
        self._optimizer.build(self._variables)
        waveform, labels = tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)
        self.take_step = tf.function(self._take_step, [waveform, labels], autograph=False)
        self.embed = tf.function(self._embed, [waveform], autograph=False)

    @property
    def checkpoint(self) -> tf.train.Checkpoint:
        """A checkpoint of the whole state."""
        return tf.train.Checkpoint(
            network=self.network,
            voices=self._voices,
            optimizer=self._optimizer,
            step=self.step,
        )

    def _take_step(self, waveform: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Takes one step by the softmax with an additive margin (Wang et al., 2018)."""
        configuration = self._configuration
        done = tf.cast(self.step, tf.float32)
        margin = configuration.margin * tf.minimum(done / max(configuration.margin_steps, 1), 1.0)
        with tf.GradientTape() as tape:
            embeddings = self.network(log_mel_bands(waveform, configuration), training=True)
            cosines = tf.matmul(embeddings, tf.math.l2_normalize(self._voices, axis=0))
            margins = margin * tf.one_hot(labels, self._voices.shape[1])
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels, configuration.scale * (cosines - margins)
                )
            )
        self._optimizer.learning_rate.assign(self._learning_rate(done))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self._variables), 5.0)
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        self.step.assign_add(1)
        return loss

    def _embed(self, waveform: tf.Tensor) -> tf.Tensor:
        return embed(self.network, waveform, self._configuration)

    def _learning_rate(self, done: tf.Tensor) -> tf.Tensor:
        configuration = self._configuration
        rising = (done + 1) / max(configuration.warmup_steps, 1)
        falling = 0.5 + 0.5 * tf.cos(math.pi * done / configuration.num_steps)
        return configuration.learning_rate * tf.minimum(rising, falling)


def restore_network(network: tf.keras.Model, model_dir: Path) -> int:
    """Gives a network the weights of the last checkpoint in a folder; returns its steps.

    Raises:
        UserError: there is none, or the network there is another one.
    """
    latest = tf.train.latest_checkpoint(str(model_dir))
    if latest is None:
        raise UserError(f"{model_dir}: no checkpoint in it: train first")
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(network=network, step=step)
    try:
        with naming_damage(latest):
            checkpoint.restore(latest).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{model_dir}: holds another network: {reason}") from None
    return int(step)


def _begin_with(network: tf.keras.Model, folder: Path) -> None:
    """Gives a network the weights of a model in a folder, trained or exported."""
    if not (folder / VOICES).exists():
        restore_network(network, folder)
        return
    variables = load_saved_model(str(folder)).network_variables
    if [one.shape for one in variables] != [one.shape for one in network.variables]:
        raise UserError(f"{folder}: holds another network")
    for own, exported in zip(network.variables, variables, strict=True):
        own.assign(exported)


def _prepare(model_dir: Path, configuration: VoiceConfiguration) -> None:
    path = model_dir / CONFIGURATION
    if path.exists() and path.read_text("utf-8") != configuration.to_json():
        raise UserError(f"{model_dir}: holds a model of another configuration; train elsewhere")
    make_folder(str(model_dir), is_ours=path.exists(), option="--model_dir")
    write_text(path, configuration.to_json())
