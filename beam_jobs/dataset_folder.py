"""The folder of a dataset: whose it is, what is in it, and what may be removed from it."""

from beam_jobs import files
from beam_jobs.catalogue import PROGRESS
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


class AnotherJobError(ValueError):
    """The folder holds the work of a job that was asked for something else."""


def claim(folder: str, job: MixtureJob) -> None:
    """Makes a folder the job's, or sees that it is already.

    Raises:
        AnotherJobError: it is another job's; the message says what differs.
        OSError: it can't be written.
    """
    path = files.join(folder, dataset.JOB)
    if not files.exists(path):
        files.write_text(path, job.to_json())
        return
    differences = parse_mixture_job(files.read_text(path), path).differences(job)
    if differences:
        raise AnotherJobError(
            f"{folder} holds a dataset that was asked for otherwise ({'; '.join(differences)}):"
            " name another --output, or say --overwrite"
        )


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
