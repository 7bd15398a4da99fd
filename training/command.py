"""What the training commands have in common: parsing, TensorFlow, the log, and errors."""

import argparse
import logging
import math
import os
import urllib.parse
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from command_line.exit_status import DONE, run_command
from command_line.options import check_nothing_left, check_options
from schemas.errors import UserError, did_you_mean, is_installed, tensorflow_remedy


def run_training_command(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None,
    *,
    name: str,
    resumes: bool = False,
) -> int:
    """Runs a command and returns its exit status: 0, or 1 after an error.

    What a user can mend is one line: a `UserError`, and a file that TensorFlow can't read or write.

    Args:
        parser: of the command line.
        work: does what the options ask for. It imports what imports TensorFlow, because that takes
            seconds, and the answer to a mistyped option should not.
        argv: the command line; None for that of the process.
        name: of the command; the last line begins with it if the command failed.
        resumes: whether the command goes on where it stopped when it is started again.
    """

    def run(arguments: Sequence[str]) -> int:
        check_options(arguments, parser)
        options, unparsed = parser.parse_known_args(arguments)
        check_nothing_left(unparsed)
        _expand_paths(options)
        if not is_installed("tensorflow"):
            raise UserError(f"training needs TensorFlow: {tensorflow_remedy()}")
        from training.errors import FILE_ERRORS, describe  # noqa: PLC0415

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        # TensorFlow names every folder that it writes, and on two loggers.
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        try:
            work(options)
        except FILE_ERRORS as error:
            raise UserError(describe(error)) from error
        return DONE

    return run_command(argv, run, name=name, resumes=resumes)


def positive_number(text: str) -> float:
    """Parses an option for argparse: a number of anything, more than 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def _expand_paths(options: argparse.Namespace) -> None:
    """Puts the user's folder for a tilde, which shells do not put into `--model_dir=~/x`.

    Raises:
        UserError: a path that has to be of this machine is on another.
    """

    def expand(value: object) -> object:
        if isinstance(value, list):
            return [expand(one) for one in value]
        if isinstance(value, Path):
            return _local_path(value)
        return os.path.expanduser(value) if isinstance(value, str) else value

    for name, value in vars(options).items():
        setattr(options, name, expand(value))


def _local_path(path: Path) -> Path:
    # `Path` leaves one slash of two.
    scheme, is_url, rest = str(path).partition(":/")
    if not is_url or "/" in scheme:
        return path.expanduser()
    if scheme != "file":
        raise UserError(f"{scheme}://{rest}: is not on this machine, as this option needs it")
    return Path(f"/{urllib.parse.unquote(rest)}")


def configuration_names(package: str) -> list[str]:
    """Returns the names of the configurations that ship with a package, such as `training`."""
    folder = resources.files(package) / "configs"
    return sorted(path.name.removesuffix(".json") for path in folder.iterdir())


def read_configuration(name_or_path: str, package: str) -> bytes:
    """Returns a configuration that ships, by its name, or the user's own, as JSON.

    Args:
        name_or_path: a name, or the path of a file that TensorFlow reads.
        package: whose configurations have names.

    Raises:
        UserError: there is no such name or file, or it is a folder.
    """
    import tensorflow as tf  # noqa: PLC0415

    names = configuration_names(package)
    if name_or_path in names:
        return (resources.files(package) / "configs" / f"{name_or_path}.json").read_bytes()
    try:
        with tf.io.gfile.GFile(name_or_path, "rb") as file:
            return file.read()  # type: ignore[no-any-return]
    except tf.errors.NotFoundError:
        hint = did_you_mean(name_or_path, names) or f"those are {', '.join(names)}"
        raise UserError(
            f"--config={name_or_path}: no such file, and no configuration that ships: {hint}"
        ) from None
    except tf.errors.FailedPreconditionError:
        raise UserError(f"--config={name_or_path}: a folder: name a file in it") from None
