"""The ledger in an archive's output folder: finding and writing the record of a file."""

from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.storage import files
from schemas.ledger import InputVersion, LedgerRecord, Parameters, parse_ledger_record
from schemas.validation import InvalidDocumentError


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
    path = files.join(output, file.ledger_path)
    if not files.exists(path):
        return None
    try:
        record = parse_ledger_record(files.read_text(path), path)
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
    path = files.join(output, file.ledger_path)
    with files.write_atomically_from_disk(path) as local, open(local, "w") as record_file:
        record_file.write(record.to_json())


def _has_size(path: str, size: int) -> bool:
    """Returns whether there is a file of a given size in bytes."""
    return files.exists(path) and input_version(path).size == size
