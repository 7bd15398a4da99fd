"""SavedModels: loading them, and writing them on this machine, as a whole or not at all."""

import shutil
import uuid
from pathlib import Path
from typing import Any

import tensorflow as tf

from command_line.output_folder import OutputFolderError
from schemas.bundle import SAVED_MODEL
from schemas.errors import UserError


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


def cannot_be_written(path: str, error: OSError | tf.errors.OpError) -> OutputFolderError:
    """Returns the error to raise if a SavedModel can't be written, whatever file of it it was."""
    reason = str(error).partition("\n")[0].rpartition("; ")[2].partition(" [Op:")[0]
    return OutputFolderError(
        f"{path}: can't be written: {reason}: make room there, or name another folder"
    )


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
        raise cannot_be_written(str(path), error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
