"""The folder that a job writes to, which belongs to that job alone."""

import os
from collections.abc import Callable
from typing import Protocol, TypeVar

from beam_jobs.storage import files
from schemas.errors import UserError

PROGRESS = "progress"
"""The subfolder with what a killed job needs to go on; a finished job removes it."""

Job = TypeVar("Job", bound="DescribedJob")


class DescribedJob(Protocol):
    """A description of a job: two jobs whose descriptions agree write the same bytes."""

    def to_json(self) -> str:
        """Returns the content of the file that describes the job."""

    def differences(self: Job, other: Job, /) -> list[str]:
        """Lists the settings in which another job differs, each with both values."""


class AnotherJobError(UserError):
    """The folder holds the work of another job; the message says what differs."""


def claim(path: str, job: Job, parse: Callable[[str, str], Job], *, remedy: str) -> None:
    """Writes a job's description into its folder, or checks that the one there agrees with it.

    Args:
        path: of the file with the description.
        job: the job that is about to run.
        parse: reads a description from its text and its path.
        remedy: the end of the error message, such as `name another --output`.

    Raises:
        AnotherJobError: the folder belongs to a job with other settings.
        OSError: the file can't be written.
    """
    if not files.exists(path):
        files.write_text(path, job.to_json())
        return
    differences = parse(files.read_text(path), path).differences(job)
    if differences:
        raise AnotherJobError(
            f"{os.path.dirname(path)} holds the work of a job with other settings"
            f" ({'; '.join(differences)}): {remedy}"
        )
