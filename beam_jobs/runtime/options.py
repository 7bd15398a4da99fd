"""Command lines: the options of a job, together with any of Beam's."""

import argparse
from collections.abc import Callable, Sequence

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from command_line.options import check_nothing_left, check_options

MAX_NUMBER = 999_999_999
"""The greatest number of anything: the ids of mixtures have nine digits."""


def positive_number(text: str) -> int:
    """Parses an option for argparse: a whole number from 1 to `MAX_NUMBER`."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_NUMBER:
        shown = text if len(text) < 20 else f"{text[:20]}..."
        raise argparse.ArgumentTypeError(f"{shown} is not a whole number from 1 to {MAX_NUMBER}")
    return number


def parse_options(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    *,
    needs_processes: Callable[[argparse.Namespace], bool] = lambda _: False,
) -> tuple[argparse.Namespace, PipelineOptions]:
    """Parses a command line into the options of the job and those of Beam.

    Args:
        parser: has the options of the job.
        argv: the command line.
        needs_processes: returns, for the options of the job, whether most of its time goes into
            Python code. Threads would wait for each other there, so local workers are processes.

    Raises:
        UsageError: neither the job nor Beam has such an option.
    """
    # Beam ignores what it does not know, so that a misspelt option would have no effect.
    beam_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in (PipelineOptions, *PipelineOptions.__subclasses__()):
        add_arguments = options.__dict__.get("_add_argparse_args")
        if add_arguments:
            add_arguments.__get__(None, options)(beam_parser)
    check_options(argv, parser, beam_parser)
    own, rest = parser.parse_known_args(argv)
    check_nothing_left(beam_parser.parse_known_args(rest)[1])
    mode = "multi_processing" if needs_processes(own) else "multi_threading"
    beam_options = PipelineOptions(_with_all_cores(rest, mode))
    # Files that are read before there is a pipeline need the same credentials.
    FileSystems.set_options(beam_options)
    return own, beam_options


def _with_all_cores(arguments: Sequence[str], mode: str) -> list[str]:
    """Adds the kind and the number of local workers to Beam's arguments, unless they are given."""
    defaults = {"--direct_running_mode": mode, "--direct_num_workers": "0"}
    given = {argument.split("=")[0] for argument in arguments}
    return [
        *arguments,
        *(f"{name}={value}" for name, value in defaults.items() if name not in given),
    ]
