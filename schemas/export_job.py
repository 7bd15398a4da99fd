"""Descriptions of export jobs: two jobs whose descriptions agree write the same bytes."""

import dataclasses
import json

from schemas.validation import list_differences, load_document

VERSION = 3

EXPORT_JOB = "export.json"


@dataclasses.dataclass(frozen=True, slots=True)
class ExportJob:
    """The content of `export.json`.

    Attributes:
        dataset: the name of the dataset.
        fingerprint: of the dataset.
        layout: the name of the layout of files and folders.
        audio_format: `wav` or `flac`.
        versions: of the software that the bytes depend on.
    """

    dataset: str
    fingerprint: str
    layout: str
    audio_format: str
    versions: tuple[str, ...]

    def to_json(self) -> str:
        """Returns the content of `export.json`."""
        return json.dumps({"version": VERSION} | dataclasses.asdict(self), indent=1) + "\n"

    def differences(self, other: "ExportJob") -> list[str]:
        """Lists the settings in which another job differs: name, this job's value, the other's."""
        return list_differences(dataclasses.asdict(self), dataclasses.asdict(other))


def parse_export_job(text: str | bytes, origin: str) -> ExportJob:
    """Reads what `ExportJob.to_json` writes.

    Raises:
        InvalidDocumentError: not an export job, or one of another version.
    """
    document = load_document(text, "export_job", origin)
    del document["version"]
    return ExportJob(**document | {"versions": tuple(document["versions"])})
