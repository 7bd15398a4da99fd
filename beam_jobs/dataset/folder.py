"""The folder of a dataset: whose it is, what is in it, and what may be removed from it."""

from beam_jobs.runtime import job_folder
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas import dataset
from schemas.mixture_job import MixtureJob, parse_mixture_job

_EVERYTHING = (
    f"*{files.TEMPORARY_INFIX}*",
    "*.tfrecord-?????-of-?????",
    "recipes/*",
    f"{PROGRESS}/*",
    dataset.CATALOGUE,
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
    """Makes a folder the job's, or checks that it is already.

    Raises:
        AnotherJobError: the folder holds the dataset of another job.
        OSError: the folder can't be written.
    """
    remedy = "name another --output, or say --overwrite"
    job_folder.claim(files.join(folder, dataset.JOB), job, parse_mixture_job, remedy=remedy)


def is_complete(folder: str) -> bool:
    """Whether the dataset is finished."""
    return files.exists(files.join(folder, dataset.COMPLETED))


def remove_dataset(folder: str) -> None:
    """Removes what a job writes, and nothing else."""
    # Whoever looks meanwhile shall not take the rest for a dataset.
    for pattern in (dataset.COMPLETED, *_EVERYTHING):
        files.remove(folder, pattern)


def forget_corpus(folder: str) -> None:
    """Makes the next run look at the corpus again, which has to be mended first."""
    for pattern in (dataset.CATALOGUE, f"{PROGRESS}/*"):
        files.remove(folder, pattern)


def remove_leftovers(folder: str) -> None:
    """Removes what a finished job no longer needs, and what killed ones left behind."""
    for pattern in (
        f"{PROGRESS}/*",
        f"*{files.TEMPORARY_INFIX}*",
        f"recipes/*{files.TEMPORARY_INFIX}*",
    ):
        files.remove(folder, pattern)
