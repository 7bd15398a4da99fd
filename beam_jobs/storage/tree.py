"""The files in a folder of this machine and below it, also where links lead to them."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator

# Names that begin with a dot, which are hidden, and the folders that Windows, macOS, Linux and
# network drives make for themselves: for what was thrown away, repaired, or put beside real files.
_STRAY = re.compile(
    r"(?:^|/)(?:\.(?!\.?(?:/|$))|(?:\$RECYCLE\.BIN|RECYCLER|System Volume Information|__MACOSX"
    r"|lost\+found|@eaDir|[#@]recycle|@Recently-Snapshot|~snapshot)/)",
    re.IGNORECASE,
)

LEADS_OUT = "a link that leads out of the folder: name the folder that it leads to as well"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file in a tree, or a folder that was not entered.

    Attributes:
        path: relative to the root of the tree.
        real_path: the full path without links.
        num_links: the links in the path, below the root.
        problem: why the file can't be read, or the folder not be entered; else empty.
    """

    path: str
    real_path: str
    num_links: int
    problem: str = ""


def walk(root: str, enters: Callable[[str, str], bool]) -> Iterator[Entry]:
    """Yields the files in a folder and the folders below it, in order.

    A link to a folder inside of the tree is followed, so that its files have two paths, except
    where it leads back to a folder that it is in. A link to another folder is yielded itself, as is
    a folder that can't be read.

    Args:
        root: the folder.
        enters: returns whether to look into a folder, from its path relative to the root and its
            full path without links.
    """
    real_root = os.path.realpath(root)
    yield from _walk(root, "", 0, (real_root,), enters)


def is_stray(path: str) -> bool:
    """Returns whether a file is hidden, or in a folder that is hidden or a system's own.

    Args:
        path: relative to the folder that somebody named, in which the file was found; that of a
            folder ends in a slash.
    """
    return bool(_STRAY.search(path))


def is_in(path: str, folder: str) -> bool:
    """Returns whether a path is that of a folder or of something in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _walk(
    root: str,
    path: str,
    num_links: int,
    real_folders: tuple[str, ...],
    enters: Callable[[str, str], bool],
) -> Iterator[Entry]:
    """Yields the files of a folder; `real_folders` are those that led here, from the root on."""
    try:
        with os.scandir(os.path.join(root, path)) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        problem = f"a folder that can't be read: {error.strerror}"
        yield Entry(path, real_folders[-1], num_links, problem)
        return
    for entry in found:
        entry_path = os.path.join(path, entry.name)
        real_path = os.path.join(real_folders[-1], entry.name)
        links = num_links + entry.is_symlink()
        if entry.is_symlink():
            real_path = os.path.realpath(real_path)
        problem = ""
        try:
            if entry.is_dir():
                if not enters(entry_path, real_path) or real_path in real_folders:
                    continue
                if is_in(real_path, real_folders[0]):
                    yield from _walk(root, entry_path, links, (*real_folders, real_path), enters)
                    continue
                problem = LEADS_OUT
            elif not entry.is_file():
                problem = "neither a file nor a folder"
                if entry.is_symlink() and not os.path.exists(real_path):
                    problem = f"a link to {os.readlink(entry.path)}, which is not there"
        except OSError as error:
            problem = f"a link that can't be followed: {error.strerror}"
        yield Entry(entry_path, real_path, links, problem)
