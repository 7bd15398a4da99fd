"""The separator of a bundle, to make what other networks are trained on."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from schemas.bundle import BUNDLE, Bundle, parse_bundle
from schemas.pcm import Samples
from training.saved_models import load_saved_model


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
