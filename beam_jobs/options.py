"""The command line: a job's own options, and any of Beam's."""

import argparse
import difflib
from collections.abc import Callable, Sequence

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

_LOCAL_RUNNERS = ("DirectRunner", "FnApiRunner")


class UsageError(ValueError):
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


def run_pipeline(pipeline: Pipeline, options: PipelineOptions) -> bool:
    """Runs a pipeline to its end.

    Returns:
        False where it has not run, but was only described for Dataflow, which starts it later: the
        launcher of a Flex Template asks for that.
    """
    pipeline.run().wait_until_finish()
    template = options.view_as(GoogleCloudOptions).template_location
    if template:
        print(f"described for Dataflow: {template}")
    return not template


def choose_runner(options: PipelineOptions) -> PipelineRunner | str:
    """The runner to make a pipeline with.

    Beam's DirectRunner is a choice between others, made by what it can download; here it always
    is the one that needs nothing.
    """
    runner = options.get_all_options()["runner"]
    if runner is None or runner in _LOCAL_RUNNERS:
        # Its workers else send what they have every second, from a thread that waits for nobody: an
        # element that is being written is torn apart, or lost, and what is read after it is noise.
        worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
        return FnApiRunner()
    return str(runner)
