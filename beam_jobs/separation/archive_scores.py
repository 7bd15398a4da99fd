"""Scoring a separated recording: against files of references, or a mixture of a dataset.

Files are read in blocks, so that memory does not grow with their length.
"""

import dataclasses
import io
import math
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import soundfile

from beam_jobs.audio.decoding import read_blocks, read_header
from beam_jobs.audio.resampling import resample_blocks
from beam_jobs.audio.types import AudioHeader, UnusableAudioError
from beam_jobs.separation.output_names import fill_template
from beam_jobs.separation.streaming import RTTM_SUFFIX
from beam_jobs.separation.turns import parse_rttm
from beam_jobs.separation.windows import Framing, cut_windows
from beam_jobs.storage import files
from schemas.errors import UserError
from schemas.ledger import LedgerRecord
from schemas.pcm import Samples
from schemas.recipe import Recipe
from scoring.diarisation import DiarisationErrors, Turns, find_errors
from scoring.metrics import Block, Blocks, ideal_ratio_mask, level_difference_db, measure
from scoring.mixtures import EvaluatedMixture
from scoring.report import AUDIO
from scoring.results import IDEAL_RATIO_MASK, UNPROCESSED, Result, find_groups, name_audio

_BLOCK_S = 60.0
# What exports call the mixture in a folder that has the mixture's id.
_MIXTURE_NAMES = ("mix", "mixture")
# Lengths at two rates differ by a sample or so.
_MAX_LENGTH_DIFFERENCE_S = 0.01


class UnscorableError(UserError):
    """A recording can't be scored; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Separated:
    """A recording that the ledger has.

    Attributes:
        relative_path: its place in the tree of the archive.
        player: what the names of the files begin with that one can listen to; empty for none.
        record: what the ledger says.
    """

    relative_path: str
    player: str
    record: LedgerRecord

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return posixpath.splitext(self.relative_path)[0]

    @property
    def audio_paths(self) -> tuple[str, ...]:
        """Of the outputs, relative to the archive's folder."""
        return tuple(output.path for output in self.record.outputs)


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """What one recording comes to.

    Attributes:
        name: of the recording.
        results: of the model and of the bounds; empty where no audio is scored.
        diarisation: how well it was told who speaks when, where that is scored.
    """

    name: str
    results: tuple[Result, ...]
    diarisation: DiarisationErrors | None


@dataclasses.dataclass(frozen=True, slots=True)
class References:
    """The files of references, each kind in a folder whose tree is the archive's, or by a template.

    Attributes:
        audio: of the sources, by the names of the outputs or by a template with {folder}, {stem},
            {suffix} and {number}; empty where no audio is scored.
        rttm: of who speaks when, by the names of the archive's RTTM files or by a template with
            {folder}, {stem} and {suffix}; empty where that is not scored.
    """

    audio: str = ""
    rttm: str = ""

    def audio_paths(self, separated: Separated) -> list[str]:
        """The file of each source.

        Raises:
            NamingError: the template has a field that there is not.
        """
        if "{" not in self.audio:
            return [files.join(self.audio, path) for path in separated.audio_paths]
        return [
            fill_template(self.audio, separated.relative_path, number=str(number))
            for number, _ in enumerate(separated.audio_paths, start=1)
        ]

    def rttm_path(self, separated: Separated) -> str:
        """The file of the turns.

        Raises:
            NamingError: the template has a field that there is not.
        """
        if "{" not in self.rttm:
            return files.join(self.rttm, separated.relative_path + RTTM_SUFFIX)
        return fill_template(self.rttm, separated.relative_path)


def mixture_id(separated: Separated) -> str:
    """The id of the mixture that a recording is of: its name, or its folder's for `mixture.wav`."""
    folder, name = posixpath.split(separated.name)
    return posixpath.basename(folder) if name in _MIXTURE_NAMES else name


def score_against_files(
    separated: Separated, references: References, *, archive: str, output: str
) -> Score:
    """Scores a recording.

    Args:
        separated: the recording.
        references: what it is compared with.
        archive: the folder of the archive.
        output: the folder of the report.

    Raises:
        UnscorableError: a file is missing, can't be read, or is not as long as the recording.
    """
    results: tuple[Result, ...] = ()
    if references.audio:
        paths = references.audio_paths(separated)
        header = _read_header(paths[0])
        outputs = [files.join(archive, path) for path in separated.audio_paths]
        read = _reader([*outputs, *paths, separated.record.path], header, _BLOCK_S)

        def blocks() -> Iterator[Block]:
            for block in read():
                yield Block(block[: len(outputs)], block[len(outputs) : -1], block[-1])

        results = _measure(separated, blocks, header.sample_rate, None, output)
    diarisation = None
    if references.rttm:
        told = _read_told_turns(separated, archive)
        diarisation = find_errors(
            separated.name,
            reference=_read_turns(references.rttm_path(separated)),
            hypothesis=told,
            duration_s=separated.record.duration_s,
        )
    return Score(separated.name, results, diarisation)


def score_against_mixture(
    separated: Separated, mixture: EvaluatedMixture, *, rttm: bool, archive: str, output: str
) -> Score:
    """Scores a recording that is a mixture of a dataset.

    Args:
        separated: the recording.
        mixture: what it is compared with.
        rttm: whether who speaks when is scored, too.
        archive: the folder of the archive.
        output: the folder of the report.

    Raises:
        UnscorableError: a file is missing, can't be read, or is not as long as the mixture.
    """
    recipe = mixture.recipe
    header = AudioHeader(recipe.sample_rate, recipe.num_samples, 1)
    outputs = [files.join(archive, path) for path in separated.audio_paths]
    if len(outputs) != len(mixture.sources):
        raise UnscorableError(f"{len(outputs)} outputs, but {len(mixture.sources)} sources")
    (estimates,) = _reader(outputs, header, header.num_frames / header.sample_rate)()
    block = Block(estimates, mixture.sources, mixture.mixture)
    results = _measure(separated, block.alone, recipe.sample_rate, recipe, output)
    diarisation = None
    if rttm:
        diarisation = find_errors(
            separated.name,
            reference=[
                (source.speaker, source.offset_s, source.offset_s + source.duration_s)
                for source in recipe.sources
            ],
            hypothesis=_read_told_turns(separated, archive),
            duration_s=recipe.duration_s,
        )
    return Score(separated.name, results, diarisation)


def _measure(
    separated: Separated, blocks: Blocks, sample_rate: int, recipe: Recipe | None, output: str
) -> tuple[Result, ...]:
    heard: Any = False

    def sources() -> Iterator[Samples]:
        nonlocal heard
        for block in blocks():
            heard = heard | block.sources.any(axis=1)
            yield block.sources

    groups = find_groups(level_difference_db(sources()), recipe)
    if not heard.all():
        raise UnscorableError(f"reference {np.argmin(heard) + 1} is silent: nothing to measure")

    def unprocessed() -> Iterator[Block]:
        for block in blocks():
            mixtures = np.tile(block.mixture, (len(block.sources), 1))
            yield dataclasses.replace(block, estimates=mixtures)

    def ideal() -> Iterator[Block]:
        for block in blocks():
            masked = ideal_ratio_mask(block.sources, block.mixture, sample_rate)
            yield dataclasses.replace(block, estimates=masked)

    results = []
    for model, of_model in (
        (UNPROCESSED, unprocessed),
        (separated.record.model, blocks),
        (IDEAL_RATIO_MASK, ideal),
    ):
        measures, order = measure(of_model, sample_rate)
        audio: tuple[str, ...] = ()
        if separated.player:
            audio = name_audio(separated.player, model, len(order))
            first = next(iter(of_model()))
            for name, samples in zip(
                audio, [first.mixture, *first.estimates[list(order)]], strict=True
            ):
                _write_player(files.join(output, AUDIO, name), samples, sample_rate)
        results.append(Result(model, separated.name, groups, measures, audio))
    return tuple(results)


def _write_player(path: str, samples: Samples, sample_rate: int) -> None:
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(samples, -1, 1), sample_rate, format="FLAC")
    with files.write_atomically(path) as file:
        file.write(encoded.getvalue())


def _reader(
    paths: Sequence[str], reference: AudioHeader, block_s: float
) -> Callable[[], Iterator[Samples]]:
    """Reads files side by side: float32 [files, samples], in blocks of about equal length.

    Args:
        paths: of the files, whose channels are mixed down.
        reference: whose rate and length they get.
        block_s: how long a block is at most, in seconds.

    Raises:
        UnscorableError: a file is missing, can't be read, or has another length.
    """
    duration_s = reference.num_frames / reference.sample_rate
    headers = [_read_header(path) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        own_s = header.num_frames / header.sample_rate
        if abs(own_s - duration_s) > _MAX_LENGTH_DIFFERENCE_S:
            raise UnscorableError(f"{path}: {own_s:.2f} s long, not {duration_s:.2f} s")
    block_length = -(-reference.num_frames // math.ceil(duration_s / block_s))
    framing = Framing(length=block_length, hop=block_length)

    def read_one(path: str, header: AudioHeader) -> Iterator[Samples]:
        blocks = read_blocks(path, round(_BLOCK_S * header.sample_rate))
        mono = (block.mean(axis=1, keepdims=True) for block in blocks)
        resampled = resample_blocks(
            mono, header.sample_rate, reference.sample_rate, 1, reference.num_frames
        )
        try:
            for window in cut_windows(resampled, reference.num_frames, framing):
                yield window[:, 0]
        except UnusableAudioError as error:
            raise UnscorableError(f"{path}: {error}") from None

    def read_all() -> Iterator[Samples]:
        columns = map(read_one, paths, headers)
        return (np.stack(column) for column in zip(*columns, strict=True))

    return read_all


def _read_header(path: str) -> AudioHeader:
    try:
        return read_header(path)
    except UnusableAudioError as error:
        raise UnscorableError(f"{path}: {error}") from None


def _read_told_turns(separated: Separated, archive: str) -> Turns:
    if separated.record.rttm is None:
        raise UnscorableError("it was separated without --rttm")
    return _read_turns(files.join(archive, separated.record.rttm.path))


def _read_turns(path: str) -> Turns:
    try:
        turns = parse_rttm(files.read_text(path))
    except FileNotFoundError:
        raise UnscorableError(f"{path}: no such file") from None
    except ValueError as error:
        raise UnscorableError(f"{path}: {error}") from None
    # A speaker of one channel is not the speaker of that name of another.
    return [
        (f"{turn.channel} {turn.speaker}", turn.onset_s, turn.onset_s + turn.duration_s)
        for turn in turns
    ]
