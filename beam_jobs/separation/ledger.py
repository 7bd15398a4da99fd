"""What an archive job has finished."""

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
    """The record of a file that needs no separating: this version of it, so, with this model.

    A record whose outputs are gone or have another size does not count.
    """
    path = files.join(output, file.ledger_path)
    if not files.exists(path):
        return None
    try:
        record = parse_ledger_record(files.read_text(path), path)
    except InvalidDocumentError:
        # Of another version of this program: the file is separated again, and the record replaced.
        return None
    wanted = (file.path, version, model_fingerprint, parameters)
    found = (record.path, record.version, record.model_fingerprint, record.parameters)
    if found != wanted:
        return None
    outputs = [(files.join(output, one.path), one.size) for one in record.files]
    return record if all(_has_size(path, size) for path, size in outputs) else None


def write_record(output: str, file: InputFile, record: LedgerRecord) -> None:
    """Enters a file whose outputs are in place."""
    path = files.join(output, file.ledger_path)
    with files.write_atomically_from_disk(path) as local, open(local, "w") as record_file:
        record_file.write(record.to_json())


def _has_size(path: str, size: int) -> bool:
    return files.exists(path) and input_version(path).size == size
