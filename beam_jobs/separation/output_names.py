"""TODO."""

import posixpath
import string
from collections.abc import Sequence

from beam_jobs.separation.inputs import InputFile, NamingError
from schemas.ledger import (
    LEDGER,
    REJECTED,
    REPORT,
    RUNS,
    SUMMARY,
    Parameters,
)

FIELDS = ("folder", "stem", "suffix", "source", "extension")
EXTENSIONS = {"wav": "wav", "flac": "flac", "opus": "opus"}


def output_paths(
    relative_path: str, source_names: Sequence[str], parameters: Parameters
) -> tuple[str, ...]:
    """The paths of a file's outputs, relative to the output folder, in the order of the sources.

    Raises:
        NamingError: the template has a field that there is not, or leads out of the folder.
    """
    extension = EXTENSIONS[parameters.audio_format]
    paths = []
    for source in source_names:
        filled = fill_template(
            parameters.name_template, relative_path, source=source, extension=extension
        )
        path = posixpath.normpath(filled.lstrip("/"))
        if path.split("/")[0] in ("..", ".", LEDGER, RUNS, REJECTED, SUMMARY, REPORT):
            raise NamingError(f"{relative_path}: {path!r} is no place for an output")
        paths.append(path)
    return tuple(paths)


def fill_template(template: str, relative_path: str, **fields: str) -> str:
    """Fills the fields {folder}, {stem} and {suffix} of a name template, and any others.

    Args:
        template: such as `{folder}/{stem}_{source}.wav`.
        relative_path: what gives the folder, the stem and the suffix.
        fields: the others.

    Raises:
        NamingError: the template has a field that there is not.
    """
    folder, name = posixpath.split(relative_path)
    stem, suffix = posixpath.splitext(name)
    fields = {"folder": folder, "stem": stem, "suffix": suffix.removeprefix(".")} | fields
    try:
        return string.Formatter().vformat(template, (), fields)
    except (KeyError, ValueError, IndexError, AttributeError):
        raise NamingError(
            f"{template!r} is not a name template: its fields can be "
            + ", ".join(f"{{{field}}}" for field in fields)
        ) from None


def check_collisions(
    inputs: Sequence[InputFile], source_names: Sequence[str], parameters: Parameters
) -> None:
    """Makes sure that no two outputs have one path.

    Raises:
        NamingError: the first two that do, and what to put in the template.
    """
    owners: dict[str, tuple[str, str]] = {}
    for one in inputs:
        paths = output_paths(one.relative_path, source_names, parameters)
        for source, path in zip(source_names, paths, strict=True):
            path_owner = owners.setdefault(path, (one.path, source))
            if path_owner != (one.path, source):
                field = "{source}" if path_owner[0] == one.path else "{folder}, {stem} and {suffix}"
                raise NamingError(
                    f"{source} of {one.path} and {path_owner[1]} of {path_owner[0]} would both be "
                    f"{path}: put {field} in the name template {parameters.name_template!r}"
                )
