"""Loading the SavedModels that a bundle consists of."""

import os
from typing import Any

from beam_jobs.runtime.workarounds import import_tensorflow
from beam_jobs.separation.models import Model, ModelError


def load_signature(model: Model, folder: str, name: str) -> tuple[Any, Any]:
    """Loads a SavedModel and its default signature, which does not outlive it.

    Args:
        model: the description of the bundle.
        folder: a local folder with the bundle's files.
        name: of the SavedModel's folder there.

    Raises:
        ModelError: it is damaged, or has no default signature.
    """
    tf = import_tensorflow()
    try:
        saved_model = tf.saved_model.load(os.path.join(folder, name))
    except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{model.folder}: its {name} can't be loaded ({reason}): copy the bundle again"
        ) from None
    signature = saved_model.signatures.get("serving_default")
    if signature is None:
        raise ModelError(f"{model.folder}: its {name} has no default signature")
    return saved_model, signature
