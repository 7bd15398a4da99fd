"""The separator of a bundle, to make what other networks are trained on."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from schemas.bundle import BUNDLE, SAVED_MODEL, Bundle, parse_bundle
from schemas.errors import UserError
from schemas.pcm import Samples


@dataclasses.dataclass(frozen=True, slots=True)
class LoadedSeparator:
    """A bundle's separator, loaded.

    Attributes:
        bundle: its description.
        separate: a function of windows in one channel, float32 [windows, samples], that returns
            their outputs, float32 [windows, sources, samples].
    """

    bundle: Bundle
    separate: Callable[[Samples], Samples]


def load_saved_model(folder: str) -> Any:
    """Loads the SavedModel of a bundle or a voice model; its functions do not outlive it.

    Args:
        folder: the bundle, local or `gs://`.

    Raises:
        UserError: it is missing or damaged, or can't be called.
    """
    path = f"{folder.rstrip('/')}/{SAVED_MODEL}"
    try:
        model = tf.saved_model.load(path)
    except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: can't be loaded ({reason}): copy it again") from None
    if "serving_default" not in model.signatures:
        raise UserError(f"{path}: has no default signature: export it again")
    return model


def load_separator(folder: str) -> LoadedSeparator:
    """Loads the separator of a bundle.

    Args:
        folder: the bundle, local or `gs://`.

    Raises:
        InvalidDocumentError: the description of the bundle can't be read.
        UserError: its SavedModel is damaged.
    """
    folder = folder.rstrip("/")
    path = f"{folder}/{BUNDLE}"
    with tf.io.gfile.GFile(path) as file:
        bundle = parse_bundle(file.read(), path)
    # Kept by the function below: its signatures do not outlive it.
    model = load_saved_model(folder)

    def separate(windows: Samples) -> Samples:
        signature = model.signatures["serving_default"]
        outputs = signature(waveform=tf.constant(windows[..., np.newaxis]))["sources"]
        return outputs.numpy()[..., 0]  # type: ignore[no-any-return]

    return LoadedSeparator(bundle, separate)
