"""The folder of an export: claiming it for a job, and removing files of killed runs."""

import soundfile

from beam_jobs.export.layout import Export
from beam_jobs.runtime import job_folder
from beam_jobs.runtime.dead_letters import read_rejected
from beam_jobs.runtime.job_folder import AnotherJobError
from beam_jobs.storage import files
from schemas.dataset import COMPLETED, DATASET, REJECTED
from schemas.export_job import EXPORT_JOB, ExportJob, parse_export_job


def claim(export: Export) -> None:
    """Describes an export in its folder, or checks that the folder belongs to it.

    Raises:
        AnotherJobError: the folder holds another export, or a dataset.
        OutputFolderError: the folder holds something else.
        OutputError: the export is not finished, and the folder can't be written.
    """
    if files.exists(export.path(DATASET)):
        raise AnotherJobError(f"{export.output} holds a dataset: name another --output")
    job_folder.check_ours(export.output, has_job=files.exists(export.path(EXPORT_JOB)))
    job = ExportJob(
        dataset=export.described.name,
        fingerprint=export.described.fingerprint,
        layout=export.layout_name,
        audio_format=export.audio_format,
        versions=(f"libsndfile {soundfile.__libsndfile_version__}",),
    )
    job_folder.claim(export.path(EXPORT_JOB), job, parse_export_job, remedy="name another --output")
    if not is_complete(export):
        job_folder.check_writable(export.output, remedy="name another --output, or make room there")


def is_complete(export: Export) -> bool:
    """Returns whether everything is exported; damaged shards may have been mended since."""
    return files.exists(export.path(COMPLETED)) and not read_rejected(export.path(REJECTED))


def remove_leftovers(export: Export) -> None:
    """Removes temporary files of killed runs, and a `COMPLETED` that leaves out damaged shards."""
    for pattern in (f"**{files.TEMPORARY_INFIX}*", COMPLETED):
        files.remove(export.output, pattern)
