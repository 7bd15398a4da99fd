"""Separated recordings, and the files of references that they are compared with."""

import dataclasses
import posixpath
import re

from beam_jobs.separation.output_names import fill_template, rttm_path
from beam_jobs.storage import files
from schemas.errors import UserError
from schemas.ledger import LedgerRecord

RTTM_SUFFIX = ".rttm"
"""Ends the name of a file with the turns of all recordings."""

# How exports call a mixture, and what it became on its transmission: `ID/mixture`, `ID/degraded`;
# `ID.mixture` and `ID.degraded`; `ID` and `ID-degraded`; `mix_clean/ID` and `mix_degraded/ID`.
_DEGRADED = "degraded"
_MIXTURE_NAMES = ("mix", "mixture", _DEGRADED)
_ENDINGS = (".mixture", f".{_DEGRADED}", f"-{_DEGRADED}")
_DEGRADED_FOLDER = f"mix_{_DEGRADED}"


class UnscorableError(UserError):
    """A recording can't be scored; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class SeparatedRecording:
    """A recording that the ledger of an archive lists.

    Attributes:
        archive: the folder of the archive.
        relative_path: its place in the archive's tree.
        record: its record in the ledger.
        player: begins the names of its audio files in the report; empty if it has none there.
    """

    archive: str
    relative_path: str
    record: LedgerRecord
    player: str

    @property
    def name(self) -> str:
        """The name of the recording in the report: its place in the tree, without the suffix."""
        return posixpath.splitext(self.relative_path)[0]

    @property
    def mixture_id(self) -> str:
        """The id of the mixture it should be, by its name or its folder's, as exports have them."""
        folder, name = posixpath.split(self.name)
        if name in _MIXTURE_NAMES:
            return posixpath.basename(folder)
        ending = next((one for one in _ENDINGS if name.endswith(one)), "")
        return name.removesuffix(ending)

    @property
    def is_degraded(self) -> bool:
        """True for what a mixture became on its transmission, by the names that exports give it."""
        # The archive's tree may begin in that folder.
        folder = posixpath.basename(posixpath.dirname(self.record.path))
        name = posixpath.basename(self.name)
        return folder == _DEGRADED_FOLDER or re.split("[.-]", name)[-1] == _DEGRADED

    @property
    def output_paths(self) -> list[str]:
        """The paths of its separated sources."""
        return [files.join(self.archive, output.path) for output in self.record.outputs]

    @property
    def rttm_path(self) -> str:
        """The path of its RTTM file.

        Raises:
            UnscorableError: it was separated without one.
        """
        if self.record.rttm is None:
            raise UnscorableError("it was separated without --rttm")
        return files.join(self.archive, self.record.rttm.path)


@dataclasses.dataclass(frozen=True, slots=True)
class References:
    """The files of references: for each kind, a folder or a template of paths.

    A folder has the tree of the archive, with the names of the archive's own files.

    Attributes:
        audio: of the true sources; a template has {folder}, {stem}, {suffix} and {number}; empty
            if audio is not scored.
        rttm: of who speaks when; a template has {folder}, {stem} and {suffix}; a file (.rttm) has
            the turns of all recordings; empty if that is not scored.
    """

    audio: str = ""
    rttm: str = ""

    def source_paths(self, separated: SeparatedRecording) -> list[str]:
        """Returns the path of each true source of a recording.

        Raises:
            NamingError: the template has an unknown field.
        """
        outputs = separated.record.outputs
        if "{" not in self.audio:
            return [files.join(self.audio, output.path) for output in outputs]
        return [
            fill_template(self.audio, separated.relative_path, number=str(number))
            for number, _ in enumerate(outputs, start=1)
        ]

    def rttm_path(self, separated: SeparatedRecording) -> str:
        """Returns the path of the true turns of a recording.

        Raises:
            NamingError: the template has an unknown field.
        """
        if "{" in self.rttm:
            return fill_template(self.rttm, separated.relative_path)
        if self.rttm.endswith(RTTM_SUFFIX):
            return self.rttm
        return files.join(self.rttm, rttm_path(separated.relative_path))
