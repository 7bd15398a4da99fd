"""Loading the SavedModels that a bundle consists of."""

import os
from typing import Any

from beam_jobs.runtime.workarounds import import_tensorflow
from beam_jobs.separation.models import Model, ModelError


def load_saved_model(model: Model, folder: str, name: str) -> Any:
    """Loads a SavedModel; its functions do not outlive what is returned.

    Args:
        model: the description of the bundle.
        folder: a local folder with the bundle's files.
        name: of the SavedModel's folder there.

    Raises:
        ModelError: it is damaged.
    """
    tf = import_tensorflow()
    try:
        return tf.saved_model.load(os.path.join(folder, name))
    except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{model.folder}: its {name} can't be loaded ({reason}): copy the bundle again"
        ) from None
