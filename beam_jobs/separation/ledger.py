"""The ledger in an archive's output folder: listing, reading, finding and writing its records."""

import concurrent.futures
import dataclasses
import filecmp
import os
import threading
from collections.abc import Sequence

from beam_jobs.runtime import job_folder
from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.storage import files
from schemas.errors import UserError
from schemas.ledger import LEDGER, RUNS, InputVersion, LedgerRecord, Parameters, parse_ledger_record

# Of the ledger's files at once, most of whose time is a wait for the network.
_NUM_READERS = 16


class OccupiedError(UserError):
    """A file's outputs would overwrite those of another; the message names both, and a remedy."""


def check_ours(output: str) -> None:
    """Checks that an output folder is new or empty, or has been one of this job before.

    Raises:
        OutputFolderError: it holds something else, perhaps the recordings themselves.
    """
    has_job = any(_has_folder(output, folder) for folder in (LEDGER, RUNS))
    job_folder.check_ours(output, has_job=has_job)


def list_recordings(output: str) -> list[str]:
    """Lists the place in the tree of each recording that the ledger has a record of."""
    prefix = files.join(output, LEDGER, "")
    paths = files.list_paths(output, f"{LEDGER}/**")
    return [
        path.removeprefix(prefix).removesuffix(".json") for path in paths if path.endswith(".json")
    ]


def record_path(output: str, relative_path: str) -> str:
    """Returns the path of the record of a recording, from the recording's place in the tree."""
    return files.join(output, LEDGER, f"{relative_path}.json")


def read_record(output: str, relative_path: str) -> LedgerRecord:
    """Reads the record of a recording.

    Args:
        output: the output folder.
        relative_path: the recording's place in the tree.

    Raises:
        InvalidDocumentError: it is not a record, or one of another version of this program.
        OSError: it can't be read; BeamIOError is one.
    """
    path = record_path(output, relative_path)
    return parse_ledger_record(files.read_text(path), path)


def read_own_record(output: str, file: InputFile, version: InputVersion) -> LedgerRecord | None:
    """Reads the record of a file from its place in the tree.

    Args:
        output: the output folder.
        file: the file.
        version: of the file as it is now.

    Returns:
        The record of this file; or of one that it is a copy of; or of the one that it was before it
        was moved, which is gone and had the same version. None if there is no record, or if the
        outputs of the other file that it is of are gone.

    Raises:
        OccupiedError: the record is of another file.
        OSError: the record can't be read; BeamIOError is one.
    """
    if not files.exists(record_path(output, file.relative_path)):
        return None
    try:
        record = read_record(output, file.relative_path)
    except ValueError:
        # Written by another version of this program, or damaged; separating the file again
        # replaces it.
        return None
    if files.is_same_file(record.path, file.path):
        return record
    if record.version == version and not files.exists(record.path):
        return record
    if _is_copy(file.path, version, record):
        return record
    if any(files.exists(files.join(output, one.path)) for one in record.files):
        raise OccupiedError(
            f"it would overwrite the outputs of {record.path}, which has the same place"
            f" {file.relative_path} in {output}: give another --output"
        )
    return None


def is_done(
    output: str,
    record: LedgerRecord,
    file: InputFile,
    *,
    version: InputVersion,
    model_fingerprint: str,
    parameters: Parameters,
) -> bool:
    """Returns whether a file need not be separated again.

    Args:
        output: the output folder.
        record: of the file, as `read_own_record` returns it.
        file: the file.
        version: of the file as it is now.
        model_fingerprint: of the model.
        parameters: of the job.

    Returns:
        False if the record is of another version, model, parameters or path, or if one of its
        output files is gone or has another size.
    """
    wanted = (version, model_fingerprint, parameters)
    found = (record.version, record.model_fingerprint, record.parameters)
    if found != wanted or not files.is_same_file(record.path, file.path):
        return False
    outputs = [(files.join(output, one.path), one.size) for one in record.files]
    return all(_has_size(path, size) for path, size in outputs)


def write_record(output: str, file: InputFile, record: LedgerRecord) -> None:
    """Writes the record of a file whose outputs are in place.

    The path in it has no links, because a link may lead to another file tomorrow.

    Raises:
        OutputError: nothing can be written there.
        UnwritableNameError: the record can't be written.
    """
    path = record_path(output, file.relative_path)
    record = dataclasses.replace(record, path=files.real_path(record.path))
    with (
        files.as_output_error(path),
        files.write_atomically_from_disk(path) as local,
        open(local, "w") as record_file,
    ):
        record_file.write(record.to_json())


class Owners:
    """The owner of each output in an archive's folder, for the few that a run would overwrite.

    The ledger is read when the first owner is asked for. Threads may share it.
    """

    def __init__(self, output: str) -> None:
        """Takes the output folder."""
        self._output = output
        self._lock = threading.Lock()
        self._owners: dict[str, str] | None = None

    def check(self, file: InputFile, own: LedgerRecord | None, paths: Sequence[str]) -> None:
        """Checks that a file's outputs overwrite no other file's.

        Args:
            file: the file.
            own: its record, if it has one.
            paths: of its outputs, relative to the output folder.

        Raises:
            OccupiedError: they do.
        """
        known = {one.path for one in own.files} if own else set()
        for path in paths:
            if path in known or not files.exists(files.join(self._output, path)):
                continue
            # Without an owner, it was left by a run that was killed.
            owner = self._find(path)
            if owner is not None and not files.is_same_file(owner, file.path):
                raise OccupiedError(
                    f"its output {path} would overwrite that of {owner} in {self._output}: give"
                    " another --output, or put {suffix} or {folder} in the --name_template"
                )

    def _find(self, path: str) -> str | None:
        with self._lock:
            if self._owners is None:
                with concurrent.futures.ThreadPoolExecutor(_NUM_READERS) as readers:
                    records = readers.map(self._read, list_recordings(self._output))
                    self._owners = {
                        one.path: record.path
                        for record in records
                        if record
                        for one in record.files
                    }
            return self._owners.get(path)

    def _read(self, relative_path: str) -> LedgerRecord | None:
        try:
            return read_record(self._output, relative_path)
        except (ValueError, OSError):
            return None


def _is_copy(path: str, version: InputVersion, record: LedgerRecord) -> bool:
    """Returns whether a file has the content of another that has been separated."""
    if version.size != record.version.size or version.checksum != record.version.checksum:
        return False
    if files.is_cloud_storage(path):
        return True
    try:
        return filecmp.cmp(path, record.path, shallow=False)
    except OSError:
        return False


def _has_folder(output: str, name: str) -> bool:
    if not files.is_remote(output):
        return os.path.isdir(files.join(output, name))
    return any(files.find_paths(output, f"{name}/**"))


def _has_size(path: str, size: int) -> bool:
    """Returns whether there is a file of a given size in bytes."""
    return files.exists(path) and input_version(path).size == size
