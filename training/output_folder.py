"""The folders that training commands write to."""

from collections.abc import Collection

import tensorflow as tf

from command_line.output_folder import OutputFolderError, check_content


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
        OutputFolderError: the folder holds something else, can't be made or read, or a file is in
            its place.
    """
    try:
        tf.io.gfile.makedirs(folder)
        names = sorted(name.strip("/") for name in tf.io.gfile.listdir(folder))
    except (
        tf.errors.FailedPreconditionError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
    ) as error:
        raise OutputFolderError(
            f"{folder}: can't be written: {error.message}: name another {option}"
        ) from None
    if not is_ours:
        check_content(folder, names, option=option, own_names=own_names)
