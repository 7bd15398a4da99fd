"""The folder of a model in training: checkpoints, the configuration, the best validation.

`configuration.json` is Spleeter's JSON. `metrics.json` holds the measurements of the best
validation. `ckpt-STEP` are the last checkpoints, with all that training needs to go on, and
`best/ckpt-STEP` is the best one.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from schemas.bundle import BUNDLE, NETWORK_KEYS, Training, TrainingData, parse_training
from schemas.configuration import Configuration, parse_configuration
from schemas.errors import UserError
from schemas.validation import parse_json
from training.output_folder import make_folder
from training.separator import Separator, build_separator

_CONFIGURATION = "configuration.json"
_METRICS = "metrics.json"
_BEST = "best"
_KEEP = 2

# A checkpoint fits only a configuration with the same values of these keys.
_OF_THE_CHECKPOINT = (
    "model",
    "instrument_list",
    "sample_rate",
    "frame_length",
    "frame_step",
    "T",
    "F",
    "n_channels",
    "weight_averaging",
)


class ModelDirError(UserError):
    """A model's folder can't be used; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Metrics:
    """The measurements of the best validation.

    Attributes:
        steps: training steps done before it.
        validation_loss: the mean loss.
        validation_si_sdri_db: the mean SI-SDR improvement, outputs in their best permutation.
        dataset_fingerprint: identifies the data trained on.
        training: how the model was trained up to there; None in folders of earlier versions.
    """

    steps: int
    validation_loss: float
    validation_si_sdri_db: float
    dataset_fingerprint: str
    training: Training | None = None


def describe_training(
    configuration: Configuration,
    steps: int,
    data: tuple[TrainingData, ...] = (),
    start_from: str = "",
) -> Training:
    """Returns how `training.train` has trained a model.

    Args:
        configuration: of the model.
        steps: training steps done.
        data: what it was trained on; empty where unknown.
        start_from: the bundle whose weights training began with; empty for random weights.
    """
    document = configuration.document
    samples_heard = steps * configuration.batch_size * configuration.num_samples
    return Training(
        trainer="training.train",
        settings={key: value for key, value in document.items() if key not in NETWORK_KEYS},
        hours_heard=round(samples_heard / configuration.sample_rate / 3600, 2),
        data=data,
        start_from=start_from,
    )


class TrainingState:
    """Everything that a training step or a validation changes.

    Attributes:
        separator: the model.
        optimizer: with the learning rate, which the schedule changes.
        step: steps done.
        best_si_sdri_db: of all validations, minus infinity before the first.
        num_stale: validations since the best one.
        strategy: the devices that share each batch.
    """

    def __init__(
        self,
        configuration: Configuration,
        strategy: tf.distribute.Strategy | None = None,
        weights: Sequence[npt.NDArray[np.float32]] = (),
    ) -> None:
        """Makes the state before the first step.

        Args:
            configuration: of the model.
            strategy: the devices that share each batch; TensorFlow's default if None.
            weights: initial weights of the network; random if there are none.
        """
        self.strategy = strategy or tf.distribute.get_strategy()
        with self.strategy.scope():
            self.separator = build_separator(configuration)
            if weights:
                self.separator.network.set_weights(weights)
            self.optimizer = _build_optimizer(configuration)
            self.optimizer.build(self.separator.network.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best_si_sdri_db = tf.Variable(-math.inf)
        self.num_stale = tf.Variable(0)

    @property
    def checkpoint(self) -> tf.train.Checkpoint:
        """A checkpoint of all of it."""
        network = self.separator.network
        # Keras leaves the state of dropout out of its own checkpoints.
        dropout = [
            layer._random_generator._generator
            for layer in network.layers
            if isinstance(layer, tf.keras.layers.Dropout)
        ]
        return tf.train.Checkpoint(
            network=network,
            dropout=dropout,
            optimizer=self.optimizer,
            step=self.step,
            best_si_sdri_db=self.best_si_sdri_db,
            num_stale=self.num_stale,
        )

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Swaps in the running mean of the weights, if there is one, until the context ends."""
        if not self.optimizer.use_ema:
            yield
            return
        variables = self.separator.network.trainable_variables
        trained = [variable.numpy() for variable in variables]
        self.optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, trained, strict=True):
                variable.assign(value)


class ModelDir:
    """A model's folder, local or remote."""

    def __init__(self, folder: str) -> None:
        self.folder = folder.rstrip("/")

    def prepare(self, configuration: Configuration) -> None:
        """Makes the folder, and writes the configuration into it.

        Raises:
            ModelDirError: the folder holds another network.
            OutputFolderError: the folder holds something else, or can't be made.
        """
        is_ours = tf.io.gfile.exists(self._path(_CONFIGURATION))
        if is_ours:
            earlier = self.read_configuration()
            for key in _OF_THE_CHECKPOINT:
                if earlier.document.get(key) != configuration.document.get(key):
                    raise ModelDirError(
                        f"{self.folder}: holds another model: {key} is "
                        f"{json.dumps(earlier.document.get(key))} there and "
                        f"{json.dumps(configuration.document.get(key))} in the configuration; "
                        "train into another folder"
                    )
        make_folder(self.folder, is_ours=is_ours, option="--model_dir")
        self._write(_CONFIGURATION, configuration.document)

    def read_configuration(self) -> Configuration:
        """Reads the configuration that the model is trained with.

        Raises:
            ModelDirError: there is none.
            InvalidDocumentError: it is not a configuration.
        """
        path = self._path(_CONFIGURATION)
        if tf.io.gfile.exists(self._path(BUNDLE)):
            raise ModelDirError(
                f"{self.folder}: a bundle, and this takes the folder of a training (--model_dir);"
                " separate_archive takes bundles"
            )
        return parse_configuration(self._read(path), path)

    def read_metrics(self) -> Metrics:
        """Reads what the best validation measured.

        Raises:
            ModelDirError: there was no validation yet, or the file is damaged.
        """
        path = self._path(_METRICS)
        document = parse_json(self._read(path), path)
        try:
            return Metrics(**document | {"training": parse_training(document.get("training"))})
        except (AttributeError, TypeError):
            raise ModelDirError(f"{path}: damaged: copy the folder again") from None

    def restore(self, state: TrainingState) -> None:
        """Restores the state from the last checkpoint, if there is one.

        Raises:
            ModelDirError: it is damaged or incomplete.
        """
        latest = _latest_checkpoint(self.folder)
        if latest is not None:
            with naming_damage(latest):
                state.checkpoint.restore(latest).assert_existing_objects_matched()

    def save(self, state: TrainingState) -> None:
        """Writes a checkpoint.

        Raises:
            ModelDirError: it can't be written; the earlier ones are left as they were.
        """
        self._save(state, self.folder, _KEEP)

    def save_best(self, state: TrainingState, metrics: Metrics) -> None:
        """Writes the best model so far.

        Raises:
            ModelDirError: it can't be written; the one before it is left as it was.
        """
        self._save(state, self._path(_BEST), 1)
        self._write(_METRICS, dataclasses.asdict(metrics))

    def load_best(self) -> tuple[Configuration, Separator]:
        """Loads the model of the best validation, and its configuration.

        Raises:
            ModelDirError: there was no validation yet, or the model is damaged or incomplete.
        """
        configuration = self.read_configuration()
        best = _latest_checkpoint(self._path(_BEST))
        if best is None:
            raise ModelDirError(
                f"{self.folder}: no model in {_BEST}/: training has not come to its first "
                "validation yet; go on with it"
            )
        state = TrainingState(configuration)
        with naming_damage(best):
            state.checkpoint.restore(best).expect_partial()
        return configuration, state.separator

    def _save(self, state: TrainingState, folder: str, keep: int) -> None:
        manager = tf.train.CheckpointManager(state.checkpoint, folder, keep)
        save_checkpoint(manager, int(state.step))

    def _read(self, path: str) -> bytes:
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                return file.read()  # type: ignore[no-any-return]
        except tf.errors.NotFoundError:
            raise ModelDirError(f"{path}: no such file: not the folder of a model") from None

    def _write(self, name: str, document: dict[str, Any]) -> None:
        with tf.io.gfile.GFile(self._path(name), "w") as file:
            file.write(json.dumps(document, indent=1) + "\n")

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"


def _latest_checkpoint(folder: str) -> str | None:
    """Returns the last checkpoint in a folder; None if there never was one.

    Raises:
        ModelDirError: a part of it is missing.
    """
    latest = tf.train.latest_checkpoint(folder)
    if latest is None and tf.io.gfile.exists(f"{folder}/checkpoint"):
        raise ModelDirError(
            f"{folder}: what its file `checkpoint` names is not there: copy the folder again"
        )
    return latest  # type: ignore[no-any-return]


def save_checkpoint(manager: tf.train.CheckpointManager, step: int) -> None:
    """Writes a checkpoint.

    Raises:
        ModelDirError: it can't be written; the earlier ones are left as they were.
    """
    try:
        manager.save(checkpoint_number=step)
    except (tf.errors.OpError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelDirError(
            f"{manager.directory}: can't save step {step}: {reason}; the checkpoint before it is"
            " kept: make room and run the same command again"
        ) from None


@contextlib.contextmanager
def naming_damage(checkpoint: str) -> Iterator[None]:
    """Turns the errors of restoring a damaged checkpoint into a `ModelDirError` that names it."""
    try:
        yield
    except (IndexError, tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelDirError(f"{checkpoint}: damaged ({reason}): copy the folder again") from None


def _build_optimizer(configuration: Configuration) -> tf.keras.optimizers.Optimizer:
    momentum = configuration.weight_averaging
    averaging = {"use_ema": True, "ema_momentum": momentum} if momentum else {}
    # The constants are those of TensorFlow 1, which Spleeter trains with.
    if configuration.optimizer == "Adadelta":
        return tf.keras.optimizers.Adadelta(
            learning_rate=0.001, rho=0.95, epsilon=1e-8, **averaging
        )
    if configuration.optimizer == "SGD":
        return tf.keras.optimizers.SGD(configuration.learning_rate, **averaging)
    return tf.keras.optimizers.Adam(configuration.learning_rate, epsilon=1e-8, **averaging)
