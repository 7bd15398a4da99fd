"""The loop that trains a model: steps, validations, checkpoints, and what the log says of them."""

import collections
import contextlib
import itertools
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import tensorflow as tf

from schemas.configuration import Configuration
from schemas.errors import UserError
from training.bundle_export import read_weights
from training.input import (
    Batch,
    MixtureDataset,
    describe_data,
    open_dataset,
    read_examples,
    training_batches,
    validation_batches,
)
from training.losses import compute_loss, si_sdr_improvement
from training.model_dir import (
    Metrics,
    ModelDir,
    ModelDirError,
    TrainingState,
    describe_training,
)

_LOG = logging.getLogger(__name__)

_AUDIO_EXAMPLES = 2

_FULL_DISK = "No space left on device"


class DivergedError(UserError, ArithmeticError):
    """The loss or a gradient is not a finite number; the message names the batch."""


def train(
    configuration: Configuration,
    datasets: Sequence[str],
    model_dir: str,
    *,
    start_from: str | None = None,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    devices: Sequence[str] = (),
) -> None:
    """Trains until the steps or minutes are used up, validation stalls, or a signal comes.

    Args:
        configuration: of the model.
        datasets: the folders of datasets with the splits `train` and `validation`. Batches come
            from each in turn; one that is listed twice gives twice as many.
        model_dir: the folder of the model; training goes on from what it holds.
        start_from: the bundle whose weights a new model begins with; random weights if None.
        max_steps: counted from the first step of the model; `train_max_steps` if None.
        max_minutes: counted from now; no limit if None.
        devices: that share each batch, such as `GPU:0`; all GPUs if empty.

    Raises:
        UnfinishedDatasetError: a dataset's folder holds no dataset, or an unfinished one.
        UnusableDatasetError: a dataset is damaged, or does not fit the configuration.
        UserError: the batch size is not a multiple of the number of devices.
        ModelDirError: the folder holds another model, or can't be written.
        BundleError: `start_from` holds another network.
        DivergedError: the loss is not a number; the last checkpoint is from before that.
    """
    opened = [open_dataset(dataset, configuration, ("train", "validation")) for dataset in datasets]
    folder = ModelDir(model_dir)
    folder.prepare(configuration)
    weights = read_weights(start_from, configuration) if start_from else ()
    strategy = _choose_strategy(devices, configuration.batch_size)
    state = TrainingState(configuration, strategy, weights)
    folder.restore(state)
    stop_step = configuration.train_max_steps if max_steps is None else max_steps
    run = _Run(
        configuration=configuration,
        datasets=opened,
        folder=folder,
        state=state,
        start_from=PurePosixPath(start_from or "").name,
        stop_step=stop_step,
        max_minutes=max_minutes,
    )
    try:
        with stop_signals() as is_stopped, tf.summary.create_file_writer(model_dir).as_default():
            run.go(is_stopped)
    except tf.errors.ResourceExhaustedError as error:
        # The memory of a GPU is exhausted in other words.
        if _FULL_DISK not in error.message:
            raise
        raise ModelDirError(
            f"{model_dir}: can't be written: {_FULL_DISK}; the last checkpoint is kept: make room"
            " and start the same command again"
        ) from None


def _choose_strategy(devices: Sequence[str], batch_size: int) -> tf.distribute.Strategy:
    devices = devices or [
        gpu.name.partition(":")[2] for gpu in tf.config.list_logical_devices("GPU")
    ]
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    if batch_size % len(devices):
        raise UserError(
            f"batch_size {batch_size} can't be divided among {len(devices)} devices: make it a "
            "multiple in the configuration, or hide some by CUDA_VISIBLE_DEVICES"
        )
    _LOG.info("each batch is shared by %s", ", ".join(devices))
    return tf.distribute.MirroredStrategy(devices)


class _Run:
    """One run of the training command."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        datasets: Sequence[MixtureDataset],
        folder: ModelDir,
        state: TrainingState,
        start_from: str,
        stop_step: int,
        max_minutes: float | None,
    ) -> None:
        self._configuration = configuration
        self._datasets = datasets
        self._folder = folder
        self._state = state
        self._start_from = start_from
        self._stop_step = stop_step
        self._started_s = time.monotonic()
        self._limit_s = math.inf if max_minutes is None else 60 * max_minutes
        self._first_step = int(state.step)
        self._compiled_s = math.nan
        self._validated_s = -math.inf
        self._train_step = tf.function(build_train_step(configuration, state), autograph=False)
        self._validation_step = tf.function(
            _build_validation_step(configuration, state), autograph=False
        )

    def go(self, is_stopped: Callable[[], bool]) -> None:
        configuration, state = self._configuration, self._state
        step = self._first_step
        if step:
            _LOG.info("going on from step %d", step)
        if not self._is_done(step):
            _LOG.info("compiling the network, which the first step waits for")
        count = len(self._datasets)
        batches = [
            iter(training_batches(dataset, configuration, (step - turn + count - 1) // count))
            for turn, dataset in enumerate(self._datasets)
        ]
        is_saved, is_validated = True, math.isfinite(float(state.best_si_sdri_db))
        losses: list[tf.Tensor] = []
        while not (is_stopped() or self._is_done(step) or self._elapsed_s() >= self._limit_s):
            with self._naming_damage("train"):
                batch = next(batches[step % count])
            losses.append(self._take_step(step, batch))
            step += 1
            is_saved = is_validated = False
            is_first = step == self._first_step + 1
            if is_first:
                self._compiled_s = self._elapsed_s()
            if is_first or step % configuration.save_summary_steps == 0:
                # That of a single step says more about its batch than about the model.
                loss = float(tf.reduce_mean(losses))
                tf.summary.scalar("train/loss", loss, step)
                tf.summary.scalar("train/learning_rate", state.optimizer.learning_rate, step)
                self._report(step, loss)
                losses.clear()
            if step % configuration.save_checkpoints_steps == 0:
                if self._elapsed_s() - self._validated_s >= configuration.throttle_secs:
                    self._validate(step)
                    is_validated = True
                self._folder.save(state)
                is_saved = True
        if not is_validated and not is_stopped():
            self._validate(step)
            is_saved = False
        if not is_saved:
            self._folder.save(state)
        if self._is_done(step):
            _LOG.info(
                "done: %d steps, %s; training.export makes a bundle of it", step, self._best()
            )
        else:
            _LOG.info(
                "stopped at step %d, %s; the same command goes on from here", step, self._best()
            )

    @contextlib.contextmanager
    def _naming_damage(self, split: str) -> Iterator[None]:
        try:
            yield
        except tf.errors.DataLossError:
            # TensorFlow does not say which file is damaged; reading them all here does.
            for dataset in self._datasets:
                collections.deque(read_examples(dataset, split), maxlen=0)
            raise

    def _is_done(self, step: int) -> bool:
        patience = self._configuration.early_stopping_patience
        is_stale = 0 < patience <= int(self._state.num_stale)
        return step >= self._stop_step or is_stale

    def _take_step(self, step: int, batch: Batch) -> tf.Tensor:
        ids = batch.pop("id")
        try:
            return self._train_step(batch)
        except tf.errors.InvalidArgumentError as error:
            if "Tensor had" not in error.message:
                raise
            names = ", ".join(name.decode() for name in ids.numpy())
            raise DivergedError(
                f"{self._folder.folder}: the loss or its gradient is not a number at step {step} "
                f"(random_seed {self._configuration.random_seed}, mixtures {names}); the last "
                "checkpoint is from before: lower learning_rate, or set gradient_clip_norm"
            ) from None

    def _validate(self, step: int) -> None:
        with self._state.averaged_weights():
            self._measure(step)
        self._validated_s = self._elapsed_s()

    def _measure(self, step: int) -> None:
        state, configuration = self._state, self._configuration
        loss, si_sdri_db = tf.keras.metrics.Mean(), tf.keras.metrics.Mean()
        # Validating twice on a dataset that is listed twice would tell nothing new.
        distinct = {dataset.folder: dataset for dataset in self._datasets}.values()
        batches = itertools.chain.from_iterable(
            validation_batches(dataset, configuration) for dataset in distinct
        )
        with self._naming_damage("validation"):
            for index, batch in enumerate(batches):
                del batch["id"]
                losses, improvements, are_mixed, waveforms = self._validation_step(batch)
                loss.update_state(losses)
                si_sdri_db.update_state(improvements, are_mixed)
                if index == 0:
                    self._write_audio(step, batch["mixture"], waveforms)
        metrics = Metrics(
            steps=step,
            validation_loss=float(loss.result()),
            validation_si_sdri_db=float(si_sdri_db.result()),
            dataset_fingerprint=" ".join(dataset.info.fingerprint for dataset in distinct),
            training=describe_training(
                configuration, step, tuple(map(describe_data, distinct)), self._start_from
            ),
        )
        tf.summary.scalar("validation/loss", metrics.validation_loss, step)
        tf.summary.scalar("validation/si_sdri_db", metrics.validation_si_sdri_db, step)
        if metrics.validation_si_sdri_db > float(state.best_si_sdri_db):
            state.best_si_sdri_db.assign(metrics.validation_si_sdri_db)
            state.num_stale.assign(0)
            self._folder.save_best(state, metrics)
        else:
            state.num_stale.assign_add(1)
            patience = configuration.learning_rate_patience
            if patience and int(state.num_stale) % patience == 0:
                state.optimizer.learning_rate.assign(state.optimizer.learning_rate / 2)
        _LOG.info(
            "step %d: validation loss %.4g, SI-SDRi %.2f dB",
            step,
            metrics.validation_loss,
            metrics.validation_si_sdri_db,
        )

    def _report(self, step: int, loss: float) -> None:
        speed = self._describe_speed(step)
        _LOG.info("step %d/%d: loss %.4g, %s%s", step, self._stop_step, loss, self._best(), speed)

    def _describe_speed(self, step: int) -> str:
        # The first step tells nothing of the others: the network was compiled for it.
        num_steps = step - self._first_step - 1
        if not num_steps:
            return ""
        elapsed_s = self._elapsed_s()
        step_s = (elapsed_s - self._compiled_s) / num_steps
        left_s = min((self._stop_step - step) * step_s, self._limit_s - elapsed_s)
        examples_per_s = self._configuration.batch_size / step_s
        return f", {examples_per_s:.1f} examples/s, {_hours_and_minutes(left_s)} left"

    def _best(self) -> str:
        best_db = float(self._state.best_si_sdri_db)
        return "not validated yet" if math.isinf(best_db) else f"best SI-SDRi {best_db:.2f} dB"

    def _write_audio(self, step: int, mixture: tf.Tensor, waveforms: tf.Tensor) -> None:
        rate = self._configuration.sample_rate
        tf.summary.audio("mixture", mixture, rate, step, max_outputs=_AUDIO_EXAMPLES)
        for slot, name in enumerate(self._configuration.instrument_list):
            tf.summary.audio(name, waveforms[:, slot], rate, step, max_outputs=_AUDIO_EXAMPLES)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s


def build_train_step(
    configuration: Configuration, state: TrainingState
) -> Callable[[Batch], tf.Tensor]:
    """Returns the function that takes one training step on a batch and returns the loss.

    If the loss or the gradient is not finite, the function raises `tf.errors.InvalidArgumentError`
    and changes nothing. Devices that share the batches take a part of each.
    """
    variables, strategy = state.separator.network.trainable_variables, state.strategy

    def train_on_part(batch: Batch) -> tf.Tensor:
        with tf.GradientTape() as tape:
            estimate = state.separator.estimate(batch, training=True)
            losses = compute_loss(
                configuration.loss_type, estimate, state.separator.reference(batch)
            )
            loss = tf.debugging.check_numerics(tf.reduce_mean(losses), "loss")
        gradients = tape.gradient(loss, variables)
        if strategy.num_replicas_in_sync > 1:
            replica = tf.distribute.get_replica_context()
            gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        norm = tf.debugging.check_numerics(tf.linalg.global_norm(gradients), "gradient")
        if configuration.gradient_clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, configuration.gradient_clip_norm, norm)
        with tf.control_dependencies([norm]):
            state.optimizer.apply_gradients(
                zip(gradients, variables, strict=True), skip_gradients_aggregation=True
            )
        return loss

    def train_step(batch: Batch) -> tf.Tensor:
        if configuration.learning_rate_warmup_steps:
            _warm_up(configuration, state)
        losses = strategy.run(train_on_part, args=(_divide(batch, strategy),))
        loss = strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)
        with tf.control_dependencies([loss]):
            state.step.assign_add(1)
        return loss

    return train_step


def _divide(batch: Batch, strategy: tf.distribute.Strategy) -> Batch:
    """Gives each device its part of a batch."""
    count = strategy.num_replicas_in_sync
    if count == 1:
        return batch
    parts = {name: tf.split(value, count) for name, value in batch.items()}
    return strategy.experimental_distribute_values_from_function(  # type: ignore[no-any-return]
        lambda context: {
            name: part[context.replica_id_in_sync_group] for name, part in parts.items()
        }
    )


def _warm_up(configuration: Configuration, state: TrainingState) -> None:
    """Raises the learning rate step by step; after the warm-up it is left to the schedule."""
    rate = state.optimizer.learning_rate
    share = tf.cast(state.step + 1, tf.float32) / configuration.learning_rate_warmup_steps
    rate.assign(tf.where(share <= 1, configuration.learning_rate * share, rate))


def _build_validation_step(
    configuration: Configuration, state: TrainingState
) -> Callable[[Batch], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]:
    def validation_step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        estimate = state.separator.estimate(batch, training=False)
        reference = state.separator.reference(batch)
        losses = compute_loss(configuration.loss_type, estimate, reference)
        improvements, are_mixed = si_sdr_improvement(estimate, reference)
        return losses, improvements, are_mixed, estimate.waveforms

    return validation_step


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Lets the step finish after Ctrl-C or SIGTERM; a second one stops at once."""
    received: list[int] = []

    def restore() -> None:
        for number, handler in earlier.items():
            signal.signal(number, handler)

    def remember(number: int, _: object) -> None:
        received.append(number)
        restore()

    earlier = {
        number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(received)
    finally:
        restore()


def _hours_and_minutes(duration_s: float) -> str:
    minutes = math.ceil(duration_s / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
