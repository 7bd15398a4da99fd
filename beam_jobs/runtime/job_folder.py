"""The folder that a job writes to, which belongs to that job alone."""

import contextlib
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol, TypeVar

from beam_jobs.storage import files
from command_line.output_folder import check_content
from schemas.errors import UserError

PROGRESS = "progress"
"""The subfolder with what a killed job needs to go on; a finished job removes it."""

STOPPED = f"{PROGRESS}/stopped.txt"
"""The reason for which the workers of a job have stopped."""

Job = TypeVar("Job", bound="DescribedJob")


class DescribedJob(Protocol):
    """A description of a job: two jobs whose descriptions agree write the same bytes."""

    def to_json(self) -> str:
        """Returns the content of the file that describes the job."""

    def differences(self: Job, other: Job, /) -> list[str]:
        """Lists the settings in which another job differs, each with both values."""


class AnotherJobError(UserError):
    """The folder holds something other than the work of this job; the message says what."""


def claim(path: str, job: Job, parse: Callable[[str, str], Job], *, remedy: str) -> None:
    """Writes a job's description into its folder, or checks that the one there agrees with it.

    Args:
        path: of the file with the description.
        job: the job that is about to run.
        parse: reads a description from its text and its path.
        remedy: the end of the error message, such as `name another --output`.

    Raises:
        AnotherJobError: the folder belongs to a job with other settings.
        OutputError: the folder can't be written.
    """
    folder = os.path.dirname(path)
    if not files.exists(path):
        with _writing_to(folder, remedy="name another --output, or make room there"):
            files.write_text(path, job.to_json())
        return
    differences = parse(files.read_text(path), path).differences(job)
    if differences:
        raise AnotherJobError(
            f"{folder} holds the work of a job with other settings"
            f" ({'; '.join(differences)}): {remedy}"
        )


def check_ours(folder: str, *, has_job: bool = False, own_names: Collection[str] = ()) -> None:
    """Checks that a folder is empty or missing unless a job has worked there before.

    A job writes names that others use as well, such as `progress` and `report.html`, and removes
    them.

    Args:
        folder: on any file system.
        has_job: whether something in it shows that such a job has worked there.
        own_names: what such jobs leave in their folders, where nothing else shows that.

    Raises:
        OutputFolderError: the folder holds something else.
    """
    if not has_job:
        check_content(folder, _list_names(folder), option="--output", own_names=own_names)


def check_writable(folder: str, *, remedy: str) -> None:
    """Checks that files can be written to a folder, which is made if it is missing.

    Args:
        folder: on any file system.
        remedy: the end of the error message, such as `name another --output`.

    Raises:
        OutputError: they can't, because the disk is read-only or full, for example.
    """
    name = f"{files.TEMPORARY_INFIX}{uuid.uuid4().hex}"
    with _writing_to(folder, remedy=remedy):
        # A file without any content fits on a full disk.
        files.write_text(files.join(folder, name), " " * 4096)
        files.remove(folder, name)


@contextlib.contextmanager
def _writing_to(folder: str, *, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise files.OutputError(f"{folder}: can't be written: {reason}: {remedy}") from None


def stop(folder: str, reason: str) -> None:
    """Notes in the folder of a job that it can't succeed.

    A runner would bury an error that a worker raises in pages of text. Workers that find the note
    have nothing more to do, so that the job ends soon, and the launcher prints the reason.

    Args:
        folder: of the job.
        reason: a line for the user, with the remedy.
    """
    files.write_text(files.join(folder, STOPPED), reason)


def reason_to_stop(folder: str) -> str:
    """Returns the reason that `stop` noted in the folder of a job, or an empty text."""
    path = files.join(folder, STOPPED)
    return files.read_text(path) if files.exists(path) else ""


def _list_names(folder: str) -> Iterator[str]:
    """Yields the names in a folder, or remotely the paths, but for what killed jobs left."""
    names: Iterable[str] = ()
    if files.is_remote(folder):
        prefix = len(files.join(folder, ""))
        # Cloud Storage's web page makes an object with a slash at its end for each folder.
        names = (path[prefix:] for path in files.find_paths(folder, "**") if not path.endswith("/"))
    elif os.path.isdir(folder):
        names = sorted(os.listdir(folder))
    return (name for name in names if files.TEMPORARY_INFIX not in name)
