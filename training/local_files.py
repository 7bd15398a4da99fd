"""Writing files of this machine as a whole or not at all."""

import contextlib
import errno
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from command_line.output_folder import OutputFolderError

_ERRNOS_OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that appears under its name when the block has ended without an error.

    Several commands may write one path at once, and the last one to finish wins.

    Raises:
        OutputFolderError: the disk is full.
        OSError: the folder can't be written.
    """
    temporary = path.with_name(f"{path.name}.incomplete-{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            yield file
        temporary.rename(path)
    except OSError as error:
        if error.errno not in _ERRNOS_OF_ROOM:
            raise
        raise OutputFolderError(
            f"{path}: can't be written: {error.strerror}: make room there, and run the same command"
            " again"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a small file as `write_atomically` does."""
    with write_atomically(path) as file:
        file.write(text.encode())
