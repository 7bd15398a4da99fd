"""The paths of outputs: a name template, filled in for each input and each source."""

import posixpath
import string
from collections.abc import Sequence

from beam_jobs.separation.inputs import AUDIO_SUFFIXES, InputFile, NamingError
from schemas.ledger import (
    LEDGER,
    REJECTED,
    REPORT,
    RUNS,
    SEGMENTS,
    SUMMARY,
    AudioFormat,
    Parameters,
)

FIELDS = ("folder", "stem", "suffix", "source", "extension")

# Names in the output folder that the job itself uses.
_RESERVED = ("..", ".", LEDGER, RUNS, REJECTED, SUMMARY, REPORT, SEGMENTS)

_SUFFIXES: dict[AudioFormat, tuple[str, ...]] = {
    "wav": (".wav", ".wave"),
    "flac": (".flac",),
    "opus": (".opus", ".ogg", ".oga"),
}


def output_paths(
    relative_path: str, source_names: Sequence[str], parameters: Parameters
) -> tuple[str, ...]:
    """Returns the paths of a recording's outputs, in the order of the sources.

    Args:
        relative_path: the recording's place in the tree.
        source_names: of the model.
        parameters: with the template and the audio format, whose name is the extension.

    Returns:
        Paths relative to the output folder.

    Raises:
        NamingError: the template has an unknown field, leads out of the output folder, or ends in
            a suffix of another audio format.
    """
    paths = []
    for source in source_names:
        filled = fill_template(
            parameters.name_template,
            relative_path,
            source=source,
            extension=parameters.audio_format,
        )
        path = posixpath.normpath(filled.lstrip("/"))
        if path.split("/")[0] in _RESERVED:
            raise NamingError(f"{relative_path}: {path!r} is no place for an output")
        _check_suffix(path, parameters)
        paths.append(path)
    return tuple(paths)


def rttm_path(relative_path: str) -> str:
    """Returns the path of a recording's RTTM file, relative to the output folder."""
    return f"{relative_path}.rttm"


def fill_template(template: str, relative_path: str, **fields: str) -> str:
    """Fills in a name template, which has {folder}, {stem} and {suffix} besides given fields.

    Args:
        template: such as `{folder}/{stem}_{source}.wav`.
        relative_path: the path that folder, stem and suffix are of.
        fields: the other fields by name.

    Raises:
        NamingError: the template has an unknown field.
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
    """Checks that no two outputs have the same path.

    Raises:
        NamingError: two have; the message names both, and a field that keeps them apart.
    """
    owners: dict[str, tuple[str, str]] = {}
    for one in inputs:
        paths = output_paths(one.relative_path, source_names, parameters)
        for source, path in zip(source_names, paths, strict=True):
            owner = owners.setdefault(path, (one.path, source))
            if owner != (one.path, source):
                field = "{source}" if owner[0] == one.path else "{folder}, {stem} and {suffix}"
                raise NamingError(
                    f"{source} of {one.path} and {owner[1]} of {owner[0]} would both be "
                    f"{path}: put {field} in the name template {parameters.name_template!r}"
                )


def _check_suffix(path: str, parameters: Parameters) -> None:
    suffix = posixpath.splitext(path)[1].lower()
    # A suffix in a field may be anything, such as the end of `{stem}` in a name without one.
    is_literal = "." in parameters.name_template.rpartition("}")[2]
    audio_format = parameters.audio_format
    if suffix not in _SUFFIXES[audio_format] and (is_literal or suffix in AUDIO_SUFFIXES):
        raise NamingError(
            f"{path!r} would be the name of a {audio_format.upper()} file: let the name template"
            f" {parameters.name_template!r} end in .{{extension}}, and choose wav, flac or opus by"
            " --audio_format"
        )
