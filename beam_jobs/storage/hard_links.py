"""Finding files of this machine that have several names, none of which is a link to another."""

import array
import contextlib
import os
from collections.abc import Iterable, Iterator

import numpy as np

# What file systems in user space answer if they do not know the number of a file.
_UNKNOWN = (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def find_hard_links(folders: Iterable[str]) -> dict[str, str]:
    """Finds the files that have several names in some folders.

    Listings tell the numbers of files for nothing, where asking for each file takes a request.

    Args:
        folders: full paths, without links.

    Returns:
        The first name of each such file in alphabetical order, by each of its names; full paths.
    """
    folders = sorted(set(folders))
    numbers = array.array("Q")
    for folder in folders:
        numbers.extend(entry.inode() for entry in _entries(folder))
    values, counts = np.unique(np.array(numbers), return_counts=True)
    repeated = set(values[counts > 1].tolist()) - set(_UNKNOWN)
    if not repeated:
        return {}
    names: dict[tuple[int, int], list[str]] = {}
    for folder in folders:
        for entry in _entries(folder):
            if entry.inode() in repeated:
                # The file may be gone since.
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1:
                        names.setdefault((status.st_dev, status.st_ino), []).append(entry.path)
    return {name: min(several) for several in names.values() for name in several}


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yields what is in a folder, without links and folders; nothing if it can't be read."""
    with contextlib.suppress(OSError), os.scandir(folder) as listing:
        yield from (entry for entry in listing if entry.is_file(follow_symlinks=False))
