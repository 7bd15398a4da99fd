"""The paths of outputs: a name template, filled in for each input and each source."""

import itertools
import posixpath
import string
from collections.abc import Callable, Iterable, Iterator, Sequence

from beam_jobs.audio.types import PYAV_SUFFIXES
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.separation.inputs import AUDIO_SUFFIXES, InputFile, NamingError
from schemas.ledger import (
    CUTS,
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
_RESERVED = ("..", ".", LEDGER, RUNS, REJECTED, SUMMARY, REPORT, SEGMENTS, CUTS)

_SUFFIXES: dict[AudioFormat, tuple[str, ...]] = {
    "wav": (".wav", ".wave"),
    "flac": (".flac",),
    "opus": (".opus", ".ogg", ".oga"),
}

# Of one recording in two formats, the better one is separated.
_LOSSY_SUFFIXES = PYAV_SUFFIXES - {".ape", ".tta", ".wv"} | {".mp3", ".oga", ".ogg", ".opus"}


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


def reject_collisions(
    inputs: Iterable[InputFile],
    source_names: Sequence[str],
    parameters: Parameters,
    *,
    is_known: Callable[[InputFile], bool],
) -> tuple[list[InputFile], list[Rejected]]:
    """Leaves out recordings whose outputs would have another's names, as a.mp3 beside a.wav.

    Args:
        inputs: the recordings.
        source_names: of the model.
        parameters: with the template.
        is_known: returns whether a recording has outputs from an earlier run, which it keeps.

    Returns:
        The recordings to separate, sorted by path, and those that are left out.

    Raises:
        NamingError: the template itself gives two outputs one name; the message names both, and a
            field that keeps them apart.
    """
    template = parameters.name_template
    owners: dict[str, tuple[InputFile, str]] = {}
    kept, rejected = [], []
    for one in _best_first(inputs, is_known):
        paths = output_paths(one.relative_path, source_names, parameters)
        own = dict(zip(paths, source_names, strict=True))
        taken = next((path for path in paths if path in owners), None)
        if len(own) < len(paths):
            raise NamingError(
                f"several outputs of {one.path} would be {paths[0]}: put {{source}} in the name"
                f" template {template!r}"
            )
        if taken is None:
            owners |= {path: (one, source) for path, source in own.items()}
            kept.append(one)
            continue
        owner, source = owners[taken]
        if owner.stem != one.stem:
            raise NamingError(
                f"{own[taken]} of {one.path} and {source} of {owner.path} would both be {taken}:"
                f" put {{folder}}, {{stem}} and {{suffix}} in the name template {template!r}"
            )
        rejected.append(
            Rejected(
                one.path,
                f"its outputs would have the names of those of {owner.path}: rename one of them, or"
                f" put {{suffix}} in the name template {template!r}",
            )
        )
    return sorted(kept, key=lambda one: one.path), rejected


def _best_first(
    inputs: Iterable[InputFile], is_known: Callable[[InputFile], bool]
) -> Iterator[InputFile]:
    """Yields files, of those that differ in their suffixes only the one to separate first."""
    by_stem = sorted(inputs, key=lambda one: one.stem)
    for _, group in itertools.groupby(by_stem, key=lambda one: one.stem):
        alike = list(group)
        if len(alike) > 1:
            alike.sort(key=lambda one: (not is_known(one), _is_lossy(one), one.path))
        yield from alike


def _is_lossy(file: InputFile) -> bool:
    return posixpath.splitext(file.path)[1].lower() in _LOSSY_SUFFIXES


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
