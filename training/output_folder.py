"""The folders that training commands write to."""

import tensorflow as tf

from schemas.errors import UserError


class OutputFolderError(UserError):
    """A folder can't be written to, or holds somebody's other things."""


def make_folder(folder: str, *, is_ours: bool, option: str) -> None:
    """Makes a folder for a command to write to.

    Args:
        folder: local or remote.
        is_ours: whether something in it shows that such a command has written there before.
        option: that names the folder, for the message.

    Raises:
        OutputFolderError: the folder holds something else, or a file is in its place.
    """
    try:
        tf.io.gfile.makedirs(folder)
    except tf.errors.FailedPreconditionError as error:
        raise OutputFolderError(
            f"{folder}: can't be written: {error.message}: name another {option}"
        ) from None
    other = next(filter(_is_content, sorted(tf.io.gfile.listdir(folder))), "")
    if other and not is_ours:
        raise OutputFolderError(
            f"{folder} holds something else, such as {other}: name another {option}, a new or an"
            " empty folder"
        )


def _is_content(name: str) -> bool:
    # Desktops leave hidden files, and ext4 has `lost+found`.
    return bool(name.strip("/")) and not name.startswith(".") and name.strip("/") != "lost+found"
