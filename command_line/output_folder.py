"""The folder that a command writes to: whether anything in it is somebody's."""

from collections.abc import Collection, Iterable

from schemas.errors import UserError


class OutputFolderError(UserError):
    """A folder can't be written to, or holds something else; the message says what."""


def check_content(
    folder: str, names: Iterable[str], *, option: str, own_names: Collection[str] = ()
) -> None:
    """Checks that a folder holds nothing that a user would miss.

    Args:
        folder: for the message.
        names: of what is in it, or paths of files in it and below.
        option: that names the folder, for the message.
        own_names: what commands of this kind leave in their folders.

    Raises:
        OutputFolderError: it holds something.
    """
    for name in names:
        if _is_content(name) and name.split("/")[0] not in own_names:
            raise OutputFolderError(
                f"{folder} holds something else, such as {name}: name another {option}, a new or"
                " an empty folder"
            )


def _is_content(name: str) -> bool:
    # Desktops leave hidden files, and ext4 has `lost+found`.
    return bool(name) and not name.startswith(".") and name != "lost+found"
