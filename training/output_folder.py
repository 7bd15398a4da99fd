"""The folders that training commands write to."""

from collections.abc import Collection

import tensorflow as tf

from schemas.errors import UserError


class OutputFolderError(UserError):
    """A folder can't be written to, or holds somebody's other things."""


def make_folder(
    folder: str, *, option: str, is_ours: bool = False, own_names: Collection[str] = ()
) -> None:
    """Makes a folder for a command to write to.

    Args:
        folder: local or remote.
        option: that names the folder, for the message.
        is_ours: whether something in it shows that such a command has written there before.
        own_names: what such commands leave in their folders, where nothing else shows that.

    Raises:
        OutputFolderError: the folder holds something else, or a file is in its place.
    """
    try:
        tf.io.gfile.makedirs(folder)
    except tf.errors.FailedPreconditionError as error:
        raise OutputFolderError(
            f"{folder}: can't be written: {error.message}: name another {option}"
        ) from None
    if is_ours:
        return
    names = sorted(name.strip("/") for name in tf.io.gfile.listdir(folder))
    other = next((name for name in names if _is_content(name) and name not in own_names), "")
    if other:
        raise OutputFolderError(
            f"{folder} holds something else, such as {other}: name another {option}, a new or an"
            " empty folder"
        )


def _is_content(name: str) -> bool:
    # Desktops leave hidden files, and ext4 has `lost+found`.
    return bool(name) and not name.startswith(".") and name != "lost+found"
