"""Command lines: the options of a job, together with any of Beam's."""

import argparse
from collections.abc import Callable, Sequence

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

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
        needs_processes: returns, for the options of the job, whether its local workers had better
            be processes, if there are several. Threads wait for each other while they are in
            Python code, and processes that can't be forked take seconds to start.

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
    beam_options = PipelineOptions(_with_all_cores(rest))
    direct = beam_options.view_as(DirectOptions)
    if not _is_given("--direct_running_mode", rest):
        separate = direct.direct_num_workers != 1 and needs_processes(own)
        direct.direct_running_mode = "multi_processing" if separate else "multi_threading"
    # Files that are read before there is a pipeline need the same credentials.
    FileSystems.set_options(beam_options)
    return own, beam_options


def _with_all_cores(arguments: Sequence[str]) -> list[str]:
    """Adds the number of local workers to Beam's arguments, unless it is given."""
    name = "--direct_num_workers"
    return [*arguments] if _is_given(name, arguments) else [*arguments, f"{name}=0"]


def _is_given(name: str, arguments: Sequence[str]) -> bool:
    return any(argument.split("=")[0] == name for argument in arguments)
