"""What a failed job says in its last line."""

import re

_LAST_LINE = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Interrupt)): (.*)$", re.MULTILINE)
_STEP = re.compile(r"\s*\[while running .*?\]$")


def root_cause(error: BaseException) -> tuple[str, str]:
    """The kind and the message of what went wrong first.

    Beam wraps a worker's exception, and where the worker is another process it brings no more than
    the text of its traceback.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    matches = _LAST_LINE.findall(str(error))
    kind, message = matches[-1] if matches else (type(error).__name__, str(error))
    return kind, _STEP.sub("", message.strip())
