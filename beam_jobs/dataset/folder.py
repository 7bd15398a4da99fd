"""The folder of a dataset: claiming it for a job, and removing files from it."""

from beam_jobs.runtime import job_folder
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.runtime.work_counts import forget_counts
from beam_jobs.storage import files
from schemas import dataset
from schemas.mixture_job import MixtureJob, parse_mixture_job

# Everything that a job writes, except for COMPLETED.
_CONTENT = (
    f"*{files.TEMPORARY_INFIX}*",
    "*.tfrecord-?????-of-?????",
    "recipes/*",
    f"{PROGRESS}/*",
    dataset.CARD,
    dataset.CATALOGUE,
    dataset.CROISSANT,
    dataset.DAMAGE,
    dataset.DATASET,
    dataset.DATASET_INFO,
    dataset.FEATURES,
    dataset.QUALITY,
    dataset.REJECTED,
    dataset.REPORT,
    dataset.JOB,
)


def claim(folder: str, job: MixtureJob) -> None:
    """Describes a job in the folder of its dataset, or checks that the folder belongs to it.

    Raises:
        AnotherJobError: the folder holds the dataset of another job.
        OutputError: the dataset is not finished, and the folder can't be written.
    """
    remedy = "name another --output, or say --overwrite"
    job_folder.claim(files.join(folder, dataset.JOB), job, parse_mixture_job, remedy=remedy)
    if not is_complete(folder):
        check_writable(folder)


def check_ours(folder: str) -> None:
    """Checks that a folder has been claimed for a dataset, or is empty or missing.

    Raises:
        OutputFolderError: the folder holds something else.
    """
    job_folder.check_ours(folder, has_job=files.exists(files.join(folder, dataset.JOB)))


def check_writable(folder: str) -> None:
    """Checks that files can be written to the folder of a dataset, which is made if it is missing.

    Raises:
        OutputError: they can't.
    """
    job_folder.check_writable(folder, remedy="name another --output, or make room there")


def is_complete(folder: str) -> bool:
    """Returns whether the dataset is finished."""
    return files.exists(files.join(folder, dataset.COMPLETED))


def remove_dataset(folder: str) -> None:
    """Removes everything that a job writes, and nothing else."""
    # COMPLETED first: a reader must not take what is left for a dataset.
    for pattern in (dataset.COMPLETED, *_CONTENT):
        files.remove(folder, pattern)


def forget_corpus(folder: str) -> None:
    """Removes the catalogue, so that the next run looks at a corpus that has been mended."""
    for pattern in (dataset.CATALOGUE, f"{PROGRESS}/*"):
        files.remove(folder, pattern)


def remove_notes(folder: str) -> None:
    """Removes what workers of an earlier run have noted for the launcher of that run."""
    files.remove(folder, job_folder.STOPPED)
    forget_counts(files.join(folder, PROGRESS))


def remove_leftovers(folder: str) -> None:
    """Removes files that a finished job no longer needs, and those of killed runs."""
    for pattern in (
        f"{PROGRESS}/*",
        f"*{files.TEMPORARY_INFIX}*",
        f"recipes/*{files.TEMPORARY_INFIX}*",
    ):
        files.remove(folder, pattern)
