"""Exit statuses of the commands, and the last line of one that failed."""

import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, cast

from schemas.errors import UserError, describe_error

DONE, FAILED, SOME_REJECTED = 0, 1, 3

_ADVICE = "; what is finished is kept: start the same command again and it goes on from here"
_LAST_LINE = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Interrupt)): (.*)$", re.MULTILINE)
_STEP = re.compile(r"\s*\[while running .*?\]$")


def run_command(
    argv: Sequence[str] | None,
    run: Callable[[Sequence[str]], int],
    *,
    name: str,
    resumes: bool = True,
) -> int:
    """Runs a command and returns its exit status; the last line it prints says how it ended.

    A `UserError` of the launcher or of a worker, and an `OSError` of the launcher, is one line.
    Anything else may be a fault of the program and is printed with its traceback.

    Ctrl-C ends the process by that signal, after a line that says how to go on.

    The command goes on in silence if the reader of what it prints goes away, as `head` does after
    its last line.

    Args:
        argv: the command line; None for that of the process.
        run: the command itself; returns its exit status.
        name: of the command; the last line begins with it.
        resumes: whether the command goes on where it stopped when it is started again.
    """
    with _outliving_readers():
        arguments = sys.argv[1:] if argv is None else argv
        return _run(arguments, run, name=name, advice=_ADVICE if resumes else "")


def is_user_error(text: str) -> bool:
    """Returns whether the text of a traceback is that of a `UserError`."""
    return _last_error(text)[0] in _user_error_names()


def _run(
    argv: Sequence[str], run: Callable[[Sequence[str]], int], *, name: str, advice: str
) -> int:
    try:
        return run(argv)
    except KeyboardInterrupt:
        print(f"{name}: interrupted{advice}", file=sys.stderr)
        _die_of_interrupt()
        return FAILED
    except (UserError, OSError) as error:
        message = _STEP.sub("", describe_error(error))
    except Exception as error:
        kind, message = _root_cause(error)
        if kind not in _user_error_names():
            traceback.print_exc()
            message = f"{kind}: {message}{advice}"
    print(f"{name}: {message}", file=sys.stderr)
    return FAILED


def _die_of_interrupt() -> None:
    """Ends the process the way an interrupt does that nobody catches.

    A shell stops the loop or the script that the command is in only then. And threads of workers
    are still at work: ended in order, the interpreter would complain of all that they hold.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _outliving_readers() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for redirect, stream in (
            (contextlib.redirect_stdout, sys.stdout),
            (contextlib.redirect_stderr, sys.stderr),
        ):
            # A command that was started without one of them has None there.
            if stream is not None:
                outliving = _OutlivingReader(stream)
                stack.enter_context(redirect(cast(TextIO, outliving)))
                stack.callback(outliving.flush)
        yield


class _OutlivingReader:
    """A stream that drops what is written to it once nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        # The interpreter flushes what is left when it exits, and would fail there.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


def _root_cause(error: BaseException) -> tuple[str, str]:
    """Returns the name and the message of the exception that was raised first.

    Beam wraps an exception of a worker; from a worker process it passes on only the text of the
    traceback.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    kind, message = _last_error(str(error))
    return (kind, message) if kind else (type(error).__name__, _STEP.sub("", str(error).strip()))


def _last_error(text: str) -> tuple[str, str]:
    """Returns the name and the message of the last exception in a traceback; empty without one."""
    matches = _LAST_LINE.findall(text)
    kind, message = matches[-1] if matches else ("", "")
    return kind, _STEP.sub("", message.strip())


def _user_error_names() -> set[str]:
    """Returns the names of `UserError` and its subclasses, as they occur in a traceback's text."""

    def names(kind: type[Exception]) -> Iterator[str]:
        yield kind.__name__
        for special in kind.__subclasses__():
            yield from names(special)

    return set(names(UserError))
