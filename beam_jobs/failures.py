"""How a job ends: its exit status, and what a failed one says in its last line."""

import re
import sys
import traceback
from collections.abc import Callable, Sequence

DONE, FAILED, SOME_REJECTED = 0, 1, 3

_ADVICE = "; what is finished is kept: start the same command again and it goes on from here"
_LAST_LINE = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Interrupt)): (.*)$", re.MULTILINE)
_STEP = re.compile(r"\s*\[while running .*?\]$")


def follow(
    argv: Sequence[str],
    run: Callable[[Sequence[str]], int],
    *,
    job: str,
    foreseen: Sequence[type[Exception]] = (),
    resumes: bool = True,
) -> int:
    """Follows a command line; whatever happens, the last line says how it ended.

    Args:
        argv: the command line.
        run: the job. Its ValueError and OSError say all that there is to say, in one line.
        job: its name.
        foreseen: what workers raise that needs no traceback either.
        resumes: whether it goes on where it was when it is started again.

    Returns:
        The exit status.
    """
    try:
        return run(argv)
    except KeyboardInterrupt:
        message = f"interrupted{_ADVICE if resumes else ''}"
    except (ValueError, OSError) as error:
        message = str(error)
    except Exception as error:
        kind, message = root_cause(error)
        if kind not in (expected.__name__ for expected in foreseen):
            traceback.print_exc()
            message = f"{kind}: {message}{_ADVICE if resumes else ''}"
    print(f"{job}: {message}", file=sys.stderr)
    return FAILED


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
