"""Runners: choosing one for a pipeline, and running the pipeline to its end."""

import contextlib
import datetime
import os
import shlex
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
)
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from beam_jobs.runtime.forked_workers import can_fork, fork_workers
from beam_jobs.runtime.workarounds import hide_tracebacks_of_user_errors, stop_timed_sends
from beam_jobs.storage import files
from schemas.errors import UserError

_LOCAL_RUNNERS = ("DirectRunner", "FnApiRunner")
_WORKER_IS_GONE = "Channel closed prematurely."


def make_pipeline(options: PipelineOptions, command: str) -> beam.Pipeline:
    """Makes an empty pipeline for the runner that the options name.

    Args:
        options: of Beam. Without a `--job_name`, the job is called after the command and the time,
            because Dataflow runs no two jobs of one name at once.
        command: the name of the command.
    """
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.job_name:
        started = datetime.datetime.now(datetime.timezone.utc)
        cloud.job_name = f"{command.replace('_', '-')}-{started:%Y%m%d-%H%M%S}"
    return beam.Pipeline(runner=choose_runner(options), options=options)


def run_pipeline(pipeline: beam.Pipeline, options: PipelineOptions) -> bool:
    """Runs a pipeline to its end.

    Returns:
        False if the pipeline was only described for Dataflow, which starts it later. The launcher
        of a Flex Template asks for that.

    Raises:
        UserError: a local worker that is a process was killed.
    """
    try:
        pipeline.run().wait_until_finish()
    except RuntimeError as error:
        if str(error) != _WORKER_IS_GONE:
            raise
        raise UserError(
            "a worker was killed, perhaps because memory ran out; what is finished is kept: start"
            " the same command again, with a smaller --direct_num_workers if that happens again"
        ) from None
    template = options.view_as(GoogleCloudOptions).template_location
    if template:
        print(f"described for Dataflow: {template}")
    return not template


def is_local(options: PipelineOptions) -> bool:
    """Returns whether the pipeline runs on this machine, with what is installed here."""
    runner = options.get_all_options()["runner"]
    return runner is None or runner in _LOCAL_RUNNERS


def choose_runner(options: PipelineOptions) -> PipelineRunner | str:
    """Returns the runner that the options name, or Beam's local one if they name none.

    Beam's DirectRunner may download another runner and use it. Here a local runner is always the
    one that is part of Beam.
    """
    if is_local(options):
        stop_timed_sends()
        hide_tracebacks_of_user_errors()
        direct = options.view_as(DirectOptions)
        if direct.direct_running_mode != "multi_processing":
            return FnApiRunner()
        # Beam would replace these workers by its own, which it can't start from a path with spaces.
        direct.direct_running_mode = None
        if can_fork():
            return FnApiRunner(fork_workers(direct.direct_num_workers or os.cpu_count() or 1))
        command = f"exec {shlex.quote(sys.executable)} -m beam_jobs.runtime.local_worker"
        return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))
    # Such a runner may itself keep things in `gs://`, such as the packages of its workers.
    with contextlib.suppress(UserError):
        files.import_cloud_storage()
    return str(options.get_all_options()["runner"])
