"""The base class of all errors that a user can mend, and what remedies say in several places."""

import difflib
import errno
import importlib.util
import sys
from collections.abc import Iterable

_FILE_PROBLEMS = {
    errno.EACCES: "permission denied: give the user who runs this the right to it",
    errno.EEXIST: "in the way of a folder: name another one",
    errno.EISDIR: "a folder, where a file should be: name the file in it",
    errno.ENOTDIR: "a file, where a folder should be, is in this path: name the folder",
}


class UserError(ValueError):
    """A problem that the user can solve; the message says what is wrong, where, and what to do.

    Commands print only the message. Any other exception is a fault of the program and keeps its
    traceback.
    """


def describe_error(error: BaseException) -> str:
    """Returns the message of an error; of one with a file, its path, the problem and the remedy."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return str(error)
    problem = _FILE_PROBLEMS.get(error.errno or 0, error.strerror.lower())
    return f"{error.filename}: {problem}"


def is_installed(module: str) -> bool:
    """Returns whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    # A package above it is missing, or something keeps it from being found.
    except (ImportError, ValueError):
        return False


def tensorflow_remedy() -> str:
    """Returns how to get TensorFlow 2.12 and Spleeter, which end with Python 3.11."""
    if sys.version_info >= (3, 12):
        version = ".".join(map(str, sys.version_info[:2]))
        return f"take Python 3.10 or 3.11, the last that TensorFlow 2.12 is for; this is {version}"
    return "pip install 'spleeter-beam[tensorflow]'"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a question with the known name that is most like a given one, or an empty text."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {nearest[0]}?" if nearest else ""
