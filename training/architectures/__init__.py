"""The architectures, registered where Spleeter looks them up.

`spleeter.model.get_model_function("joint.tcn")` imports `spleeter.model.functions.joint`. Importing
this package registers our modules under such names, so that all of Spleeter, its estimator
included, finds them without being changed. `unet` and `blstm` replace Spleeter's own modules: they
are the same networks, but also work on mono and on CPUs.
"""

import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from spleeter import model
from spleeter.model import functions

from schemas.configuration import ARCHITECTURE_PARAMS, Configuration
from schemas.errors import did_you_mean
from schemas.validation import InvalidDocumentError
from training.architectures import blstm, joint, unet

for _module in (blstm, joint, unet):
    _name = _module.__name__.rpartition(".")[2]
    sys.modules[f"{functions.__name__}.{_name}"] = _module
    setattr(functions, _name, _module)

Architecture = Callable[[tf.Tensor, tuple[str, ...], dict[str, Any]], dict[str, tf.Tensor]]
"""Spleeter's interface: takes the mixture's magnitudes [batch, T, F, channels], the names of the
instruments and `model.params`, and returns the magnitudes of each instrument by the name
`NAME_spectrogram`. An architecture on waveforms takes [batch, samples, channels] and returns
`NAME_waveform`."""


def get_architecture(model_type: str) -> Architecture:
    """Returns the function that `model.type` names.

    Raises:
        InvalidDocumentError: there is none.
    """
    try:
        return model.get_model_function(model_type)  # type: ignore[no-any-return, no-untyped-call]
    except (ModuleNotFoundError, AttributeError):
        names = list(map(repr, ARCHITECTURE_PARAMS))
        hint = did_you_mean(repr(model_type), names) or f"it is one of {', '.join(names)}"
        raise InvalidDocumentError(f"no architecture {model_type!r} ({hint})") from None


def build_network(configuration: Configuration) -> tf.keras.Model:
    """Builds the network of a configuration, with initial weights.

    Returns:
        A model whose input is that of an `Architecture`, and whose output has the outputs of all
        instruments, [batch, instruments, ...]. Networks with one part per instrument take T frames,
        a joint network takes any number.
    """
    architecture = get_architecture(configuration.model_type)
    # Spleeter's checkpoints have the variable names that Keras gives in a new graph.
    tf.keras.backend.reset_uids()
    # Gives dropout a state that can be saved in a checkpoint.
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(configuration.random_seed)
    if configuration.is_on_waveforms:
        shape: tuple[int | None, ...] = (None, configuration.n_channels)
    else:
        num_frames = None if configuration.is_joint else configuration.T
        shape = (num_frames, configuration.F, configuration.n_channels)
    mixture = tf.keras.Input(shape, name="mixture")
    outputs = architecture(mixture, configuration.instrument_list, configuration.model_params)
    # A global seed would change the random numbers of the input pipeline.
    tf.random.set_seed(None)
    return tf.keras.Model(mixture, tf.stack(list(outputs.values()), axis=1))
