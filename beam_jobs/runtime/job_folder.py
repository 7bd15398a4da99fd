"""The folder that a job writes into: which job it belongs to, and what is left to do in it."""

import os
from collections.abc import Callable
from typing import Protocol, TypeVar

from beam_jobs.storage import files
from schemas.errors import UserError

PROGRESS = "progress"
"""The subfolder with what a killed job needs to go on; gone once the job is done."""

Job = TypeVar("Job", bound="DescribedJob")


class DescribedJob(Protocol):
    """What was asked of a job; two jobs that agree in it write the same bytes."""

    def to_json(self) -> str:
        """The content of the file that describes the job."""

    def differences(self: Job, other: Job, /) -> list[str]:
        """Each setting in which another job differs, with both values."""


class AnotherJobError(UserError):
    """The folder holds the work of another job; the message says what differs."""


def claim(path: str, job: Job, parse: Callable[[str, str], Job], *, remedy: str) -> None:
    """Describes a job in its folder, or checks that the description there is of the same job.

    Args:
        path: of the file with the description.
        job: what this run was asked for.
        parse: reads a description, from its text and its path.
        remedy: ends the message of the error, such as `name another --output`.

    Raises:
        AnotherJobError: the folder belongs to a job that was asked for something else.
        OSError: the file can't be written.
    """
    if not files.exists(path):
        files.write_text(path, job.to_json())
        return
    differences = parse(files.read_text(path), path).differences(job)
    if differences:
        raise AnotherJobError(
            f"{os.path.dirname(path)} holds the work of a job that was asked for otherwise"
            f" ({'; '.join(differences)}):"
            f" {remedy}"
        )
