"""The ledger in an archive's output folder: listing, reading, finding and writing its records."""

from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.storage import files
from schemas.ledger import LEDGER, InputVersion, LedgerRecord, Parameters, parse_ledger_record
from schemas.validation import InvalidDocumentError


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


def find_record(
    output: str,
    file: InputFile,
    *,
    version: InputVersion,
    model_fingerprint: str,
    parameters: Parameters,
) -> LedgerRecord | None:
    """Finds the record of a file that need not be separated again.

    Args:
        output: the output folder.
        file: the file.
        version: of the file as it is now.
        model_fingerprint: of the model.
        parameters: of the job.

    Returns:
        The record, or None if there is none for this version, model and parameters, or if one of
        its output files is gone or has another size.
    """
    if not files.exists(record_path(output, file.relative_path)):
        return None
    try:
        record = read_record(output, file.relative_path)
    except InvalidDocumentError:
        # Written by another version of this program; separating the file again replaces it.
        return None
    wanted = (file.path, version, model_fingerprint, parameters)
    found = (record.path, record.version, record.model_fingerprint, record.parameters)
    if found != wanted:
        return None
    outputs = [(files.join(output, one.path), one.size) for one in record.files]
    return record if all(_has_size(path, size) for path, size in outputs) else None


def write_record(output: str, file: InputFile, record: LedgerRecord) -> None:
    """Writes the record of a file whose outputs are in place."""
    path = record_path(output, file.relative_path)
    with files.write_atomically_from_disk(path) as local, open(local, "w") as record_file:
        record_file.write(record.to_json())


def _has_size(path: str, size: int) -> bool:
    """Returns whether there is a file of a given size in bytes."""
    return files.exists(path) and input_version(path).size == size
