"""The architectures, where Spleeter's own look-up finds them.

`spleeter.model.get_model_function("joint.tcn")` imports `spleeter.model.functions.joint`. Importing
this package registers our modules under those names, so every part of Spleeter that goes through
the look-up, its estimator included, finds them without a change to Spleeter. `unet` and `blstm`
stand in the place of Spleeter's modules: the same networks, made right for mono and for CPUs.
"""

import difflib
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from spleeter import model
from spleeter.model import functions

from schemas.configuration import ARCHITECTURE_PARAMS, Configuration
from schemas.validation import InvalidDocumentError
from training.architectures import blstm, joint, unet

for _module in (blstm, joint, unet):
    _name = _module.__name__.rpartition(".")[2]
    sys.modules[f"{functions.__name__}.{_name}"] = _module
    setattr(functions, _name, _module)

Architecture = Callable[[tf.Tensor, tuple[str, ...], dict[str, Any]], dict[str, tf.Tensor]]
"""Spleeter's interface: from the mixture's magnitudes [batch, T, F, channels], the names of the
instruments and `model.params` to the magnitudes of each instrument, `NAME_spectrogram`. An
architecture on waveforms takes [batch, samples, channels] and returns `NAME_waveform`."""


def get_architecture(model_type: str) -> Architecture:
    """The function that `model.type` names.

    Raises:
        InvalidDocumentError: there is none.
    """
    try:
        return model.get_model_function(model_type)  # type: ignore[no-any-return, no-untyped-call]
    except (ModuleNotFoundError, AttributeError):
        nearest = difflib.get_close_matches(model_type, ARCHITECTURE_PARAMS, n=1, cutoff=0)
        raise InvalidDocumentError(
            f"no architecture {model_type!r} (did you mean {nearest[0]!r}?)"
        ) from None


def build_network(configuration: Configuration) -> tf.keras.Model:
    """The network of a configuration, its weights new.

    Returns:
        From what `Architecture` takes to the same of each instrument, [batch, instruments, ...].
        One network per instrument takes T frames, a joint one any number.
    """
    architecture = get_architecture(configuration.model_type)
    # Spleeter's checkpoints know variables by the names that Keras gives in a new graph.
    tf.keras.backend.reset_uids()
    # So that dropout has a state, which a checkpoint can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(configuration.random_seed)
    if configuration.is_on_waveforms:
        shape: tuple[int | None, ...] = (None, configuration.n_channels)
    else:
        num_frames = None if configuration.is_joint else configuration.T
        shape = (num_frames, configuration.F, configuration.n_channels)
    mixture = tf.keras.Input(shape, name="mixture")
    outputs = architecture(mixture, configuration.instrument_list, configuration.model_params)
    # A global seed changes what the seeds of the input pipeline mean.
    tf.random.set_seed(None)
    return tf.keras.Model(mixture, tf.stack(list(outputs.values()), axis=1))
