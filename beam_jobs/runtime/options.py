"""The command line: a job's own options, and any of Beam's."""

import argparse
import difflib
from collections.abc import Callable, Sequence

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from schemas.errors import UserError


class UsageError(UserError):
    """The command line can't be followed; the message says what to change."""


def parse_options(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    *,
    needs_processes: Callable[[argparse.Namespace], bool] = lambda _: False,
) -> tuple[argparse.Namespace, PipelineOptions]:
    """Divides a command line into the options of the job and those of Beam.

    Args:
        parser: has the options of the job.
        argv: the command line.
        needs_processes: whether the job with these options computes in Python itself, so that
            threads would wait for each other, and local workers are processes.

    Raises:
        UsageError: an option that neither of them has.
    """
    own, rest = parser.parse_known_args(argv)
    # Beam itself passes over what it does not know, and a misspelt option would be without effect.
    beam_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in (PipelineOptions, *PipelineOptions.__subclasses__()):
        add_arguments = options.__dict__.get("_add_argparse_args")
        if add_arguments:
            add_arguments.__get__(None, options)(beam_parser)
    _, unknown = beam_parser.parse_known_args(rest)
    if unknown:
        names = [*parser._option_string_actions, *beam_parser._option_string_actions]
        name = unknown[0].split("=")[0]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f": did you mean {near[0]}?" if near else ": see --help"
        raise UsageError(f"unknown option {name}{hint}")
    mode = "multi_processing" if needs_processes(own) else "multi_threading"
    beam_options = PipelineOptions(_with_all_cores(rest, mode))
    # Whose credentials to use, for what is read before there is a pipeline.
    FileSystems.set_options(beam_options)
    return own, beam_options


def _with_all_cores(arguments: Sequence[str], mode: str) -> list[str]:
    """Beam's arguments, with the kind and number of local workers where these are left open."""
    defaults = {"--direct_running_mode": mode, "--direct_num_workers": "0"}
    given = {argument.split("=")[0] for argument in arguments}
    return [
        *arguments,
        *(f"{name}={value}" for name, value in defaults.items() if name not in given),
    ]
