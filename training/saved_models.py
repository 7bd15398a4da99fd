"""Writing SavedModels of this machine, each as a whole or not at all."""

import shutil
import uuid
from pathlib import Path
from typing import Any

import tensorflow as tf

from command_line.output_folder import OutputFolderError


def save_model(module: tf.Module, function: Any, path: Path) -> None:
    """Saves a module with its default signature; one that is there is replaced.

    Args:
        module: with its variables.
        function: of the module, a `tf.function` with an input signature.
        path: of the folder that the SavedModel gets.

    Raises:
        OutputFolderError: it can't be written; the earlier one is left as it was.
    """
    temporary = path.with_name(f"{path.name}.incomplete-{uuid.uuid4().hex}")
    try:
        tf.saved_model.save(module, str(temporary), signatures=function)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise OutputFolderError(
            f"{path}: can't be written: {reason}: make room there, or name another folder"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
