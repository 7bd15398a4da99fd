"""Checking a catalogue that is kept for several jobs, before a job relies on it."""

import datetime

import numpy as np

from beam_jobs.audio.decoding import read_header
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.runtime.job_folder import check_writable
from beam_jobs.storage import files
from schemas import dataset
from schemas.errors import UserError
from schemas.recipe import Utterance

# Finds a change of one file in twenty with 99 percent, and takes seconds even where each file is a
# request. Listing a corpus of a million files takes minutes, which a kept catalogue is there to
# save.
_NUM_CHECKED = 100


class StaleCatalogueError(UserError):
    """A kept catalogue is not of the files as they are now."""


def check_kept_folder(kept_folder: str) -> None:
    """Checks that a folder for a kept catalogue has one, or can get one.

    Raises:
        OutputError: there is none, and the folder can't be written.
    """
    if not files.exists(files.join(kept_folder, dataset.CATALOGUE)):
        check_writable(kept_folder, remedy="name another --catalogue")


def describe_taken(spec: DatasetSpec, kept_folder: str) -> str:
    """Returns a line of text on a catalogue that an earlier job has kept, and that this one took.

    Args:
        spec: the dataset, whose folder has its catalogue.
        kept_folder: the folder of `--catalogue`; empty without one.

    Returns:
        The line; empty if the dataset made its own catalogue.
    """
    if not kept_folder:
        return ""
    kept, own = (files.join(one, dataset.CATALOGUE) for one in (kept_folder, spec.folder))
    if not (files.exists(kept) and files.exists(own)):
        return ""
    made_s = files.version(kept)[1]
    # What this job has kept is a copy of its own.
    if made_s >= files.version(own)[1]:
        return ""
    made = datetime.datetime.fromtimestamp(made_s).astimezone()
    return (
        f"the corpora are as they were on {made:%Y-%m-%d at %H:%M}, when {kept_folder} was made:"
        " if files were added since, remove that folder"
    )


def check_kept_catalogue(spec: DatasetSpec, kept_folder: str) -> None:
    """Compares some entries of a catalogue with the headers of their files.

    Args:
        spec: the dataset, whose folder has a copy of the catalogue.
        kept_folder: the folder that the catalogue was kept in.

    Raises:
        StaleCatalogueError: a file is missing, shorter than the catalogue has it, or of another
            sample rate.
    """
    catalogue = spec.open_catalogue()
    num_checked = min(len(catalogue), _NUM_CHECKED)
    # The catalogue is in the order of a hash, so that even steps meet all parts of the corpora.
    entries = np.linspace(0, len(catalogue) - 1, num_checked).astype(np.int32)
    for utterance in catalogue.utterances(entries):
        path = files.join(spec.corpus_roots[utterance.corpus], utterance.path)
        if problem := _find_change(path, utterance):
            raise StaleCatalogueError(
                f"--catalogue={kept_folder}: the corpus has changed since: {path}: {problem}:"
                f" remove {kept_folder}, and the next job makes a new catalogue"
            )


def _find_change(path: str, utterance: Utterance) -> str:
    """Returns how a file differs from its entry in the catalogue, or an empty text."""
    try:
        header = read_header(path)
    except UnusableAudioError as error:
        return str(error)
    if header.sample_rate != utterance.sample_rate:
        return f"{header.sample_rate} Hz where the catalogue has {utterance.sample_rate}"
    if header.num_frames < utterance.stop:
        return f"{header.num_frames} samples where the catalogue has {utterance.stop}"
    return ""
