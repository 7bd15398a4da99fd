"""Folders that this program has written to, in which nobody's speech is to be looked for."""

from collections.abc import Collection

from beam_jobs.runtime.job_folder import PROGRESS
from schemas.dataset import COMPLETED
from schemas.export_job import EXPORT_JOB
from schemas.ledger import LEDGER
from scoring.report_files import DOCUMENT, PAGE, TEXT


def find_writer(names: Collection[str]) -> str:
    """Returns the command that has written to a folder, by what is in it; empty for any other.

    Datasets have no audio beside their shards, and need not be known.

    Args:
        names: of the files and folders in it.
    """
    if LEDGER in names:
        return "separate_archive"
    # Other tools write an `export.json`, too.
    if EXPORT_JOB in names and (COMPLETED in names or PROGRESS in names):
        return "export_audio"
    if all(name in names for name in (DOCUMENT, PAGE, TEXT)):
        return "score_separation"
    return ""
