"""The base class of all errors that a user can mend, and a hint for mistyped names."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A problem that the user can solve; the message says what is wrong, where, and what to do.

    Commands print only the message. Any other exception is a fault of the program and keeps its
    traceback.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a question with the known name that is most like a given one, or an empty text."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {nearest[0]}?" if nearest else ""
