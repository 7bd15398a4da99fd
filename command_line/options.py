"""Parsers of command lines: what all commands offer, and mistakes that are answered alike."""

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from schemas.errors import UserError, did_you_mean

_DISTRIBUTION = "spleeter-beam"


class UsageError(UserError):
    """A command line has a mistake; the message says what to change."""


class _ShowVersion(argparse.Action):
    """Prints the version of the program, and ends it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        try:
            version = importlib.metadata.version(_DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError:
            version = "of a checkout that is not installed"
        print(f"{_DISTRIBUTION} {version}")
        parser.exit()


def make_parser(
    module: str, script: str, *, description: str | None, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Makes the parser of a command, which knows `--help` and `--version`.

    Args:
        module: that the command is, for `python -m`.
        script: the name under which it is installed.
        description: for `--help`.
        epilog: for the end of `--help`.
    """
    is_script = os.path.basename(sys.argv[0]) == script
    parser = argparse.ArgumentParser(
        prog=script if is_script else f"python -m {module}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_ShowVersion, nargs=0, help="print the version of the program"
    )
    return parser


def check_options(argv: Sequence[str], *parsers: argparse.ArgumentParser) -> None:
    """Checks that each option of a command line is one that a parser knows, and those needed full.

    argparse would first complain of options that are missing, and one of those may be misspelt. And
    an empty path would be the folder in which the command was started.

    Raises:
        UsageError: none of them knows one; the message names the most similar one. Or one that is
            required is empty.
    """
    known = {name: action for one in parsers for name, action in one._option_string_actions.items()}
    name = ""
    for argument in argv:
        if argument.startswith("--"):
            name = argument.partition("=")[0]
            if name not in known:
                hint = did_you_mean(name, known) or "see --help"
                raise UsageError(f"unknown option {name}: {hint}")
        if argument in ("", f"{name}=") and name in known and known[name].required:
            raise UsageError(f"{name} is empty: is a variable in it not set?")


def check_nothing_left(unparsed: Iterable[str]) -> None:
    """Checks that a parser has left nothing of a command line.

    Raises:
        UsageError: it has, such as a name with a space in it and without quotes.
    """
    for argument in unparsed:
        raise UsageError(f"{argument}: belongs to no option: see --help")
