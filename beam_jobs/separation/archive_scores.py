"""The scores of one separated recording: against files of references, or a mixture of a dataset.

Files are read in blocks, so that memory does not grow with their length.
"""

import dataclasses
import functools
import posixpath
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from beam_jobs.audio.types import AudioHeader
from beam_jobs.separation.aligned_audio import align_files, read_scored_header
from beam_jobs.separation.references import References, SeparatedRecording, UnscorableError
from beam_jobs.separation.turns import Turn, TurnFinder, parse_rttm_lines
from beam_jobs.storage import files
from beam_jobs.storage.text import TextError, read_lines
from schemas.mixture import StoredMixture, mix_down
from schemas.pcm import Samples
from schemas.recipe import Recipe
from scoring.diarisation import DiarisationErrors, Turns, find_errors
from scoring.evaluation import Players, score_with_bounds
from scoring.metrics import Block, Blocks, source_levels_db
from scoring.report_files import AUDIO
from scoring.results import Result, find_groups

BLOCK_S = 60.0

# Where the true turns are from, for the report.
SPEECH_OF_SOURCES = "the speech in each source"
RTTM_FILES = "the reference's RTTM files"


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """The scores of one recording.

    Attributes:
        name: of the recording.
        results: of the model and of the bounds; empty if audio is not scored.
        diarisation: the errors in who speaks when; None if that is not scored.
    """

    name: str
    results: tuple[Result, ...]
    diarisation: DiarisationErrors | None


def score_against_files(
    separated: SeparatedRecording, references: References, *, output: str
) -> Score:
    """Scores a recording against files.

    Args:
        separated: the recording.
        references: the files.
        output: the folder of the report.

    Raises:
        UnscorableError: a file is missing, can't be read, or has another length than the first
            reference; all references are silent; or there is no true turn, or one outside of the
            recording.
    """
    results: tuple[Result, ...] = ()
    if references.audio:
        outputs, sources = separated.output_paths, references.source_paths(separated)
        header = read_scored_header(sources[0])
        read = align_files([*outputs, *sources, separated.record.path], header, BLOCK_S)

        def blocks() -> Iterator[Block]:
            for signals in read():
                yield Block(signals[: len(outputs)], signals[len(outputs) : -1], signals[-1])

        results = _score_audio(separated, blocks, header.sample_rate, None, output)
    diarisation = None
    if references.rttm:
        hypothesis = _read_turns(separated.rttm_path, separated.name)
        path, duration_s = references.rttm_path(separated), separated.record.duration_s
        reference = _read_turns(path, separated.name)
        if not reference:
            raise UnscorableError(f"{path}: no SPEAKER lines in it: is it RTTM, and whole?")
        for _, onset_s, end_s in reference:
            if onset_s > duration_s or end_s < 0:
                raise UnscorableError(
                    f"{path}: a turn from {onset_s:g} to {end_s:g} s of a recording of"
                    f" {duration_s:g} s: is it another recording's?"
                )
        diarisation = find_errors(
            separated.name,
            hypothesis=hypothesis,
            reference=reference,
            duration_s=duration_s,
        )
    return Score(separated.name, results, diarisation)


def score_against_mixture(
    separated: SeparatedRecording, mixture: StoredMixture, *, rttm: bool, output: str
) -> Score:
    """Scores a recording against the mixture of a dataset that it is.

    Args:
        separated: the recording.
        mixture: as the dataset has it.
        rttm: whether who speaks when is scored too, against the speech in each source.
        output: the folder of the report.

    Raises:
        UnscorableError: a file is missing, can't be read, or is not as long as the mixture; there
            is not an output for each source; or all sources are silent.
    """
    recipe = mixture.recipe
    outputs, sources = separated.output_paths, mix_down(mixture.sources)
    if len(outputs) != len(sources):
        raise UnscorableError(f"{len(outputs)} outputs, but {len(sources)} sources")
    header = AudioHeader(recipe.sample_rate, recipe.num_samples, 1)
    (estimates,) = align_files(outputs, header, header.num_frames / header.sample_rate)()
    heard = mixture.degraded if separated.is_degraded else None
    block = Block(estimates, sources, mix_down(mixture.mixture if heard is None else heard))
    results = _score_audio(separated, block.alone, recipe.sample_rate, recipe, output)
    diarisation = None
    if rttm:
        diarisation = find_errors(
            separated.name,
            hypothesis=_read_turns(separated.rttm_path, separated.name),
            reference=_find_speech(sources, recipe),
            duration_s=recipe.duration_s,
        )
    return Score(separated.name, results, diarisation)


def _score_audio(
    separated: SeparatedRecording,
    blocks: Blocks,
    sample_rate: int,
    recipe: Recipe | None,
    output: str,
) -> tuple[Result, ...]:
    levels_db = source_levels_db(block.sources for block in blocks())
    if np.isinf(levels_db).all():
        raise UnscorableError("all references are silent: nothing to measure")

    def write_player(name: str, flac: bytes) -> None:
        with files.write_atomically(files.join(output, AUDIO, name)) as file:
            file.write(flac)

    results = score_with_bounds(
        separated.name,
        {separated.record.model: blocks},
        sample_rate,
        groups=find_groups(levels_db, recipe),
        players=Players(separated.player, write_player) if separated.player else None,
    )
    return tuple(results)


def _find_speech(sources: Samples, recipe: Recipe) -> Turns:
    """Finds who speaks when in float32 [sources, samples], the true sources of a mixture."""
    turns = []
    # One at a time: nothing leaks into a true source, however soft it is beside the others.
    for row, source in zip(recipe.rows, sources, strict=False):
        finder = TurnFinder(recipe.sample_rate)
        finder.add(source[np.newaxis])
        turns += finder.find_turns([row[0].speaker])
    return [(turn.speaker, turn.onset_s, turn.onset_s + turn.duration_s) for turn in turns]


def _read_turns(path: str, name: str) -> Turns:
    """Reads the turns of a recording.

    Args:
        path: of an RTTM file. One with several recordings has their names; that of a single one
            may be anything.
        name: the place of the recording in the archive's tree, without the suffix.

    Raises:
        UnscorableError: the file is missing or not RTTM, or the recording is none of several in it.
    """
    try:
        turns = _read_rttm(path, files.version(path))
    except FileNotFoundError:
        raise UnscorableError(f"{path}: no such file") from None
    except TextError as error:
        raise UnscorableError(str(error)) from None
    except ValueError as error:
        raise UnscorableError(f"{path}: {error}") from None
    if len(turns) > 1:
        names = ("_".join(one.split()) for one in (name, posixpath.basename(name)))
        own = next((turns[one] for one in names if one in turns), None)
        if own is None:
            raise UnscorableError(
                f"{path}: has turns of {len(turns)} recordings, none of which is called"
                f" {posixpath.basename(name)}"
            )
        turns = {name: own}
    # Each channel has speakers of its own, whatever they are called.
    return [
        (f"{turn.channel} {turn.speaker}", turn.onset_s, turn.onset_s + turn.duration_s)
        for one in turns.values()
        for turn in one
    ]


# One file may have the turns of all recordings, each of which looks for its own.
@functools.lru_cache(maxsize=16)
def _read_rttm(path: str, version: tuple[int, float, str]) -> Mapping[str, Sequence[Turn]]:
    """Reads the turns in a version of an RTTM file, by the names of their recordings."""
    del version
    turns: dict[str, list[Turn]] = {}
    for recording, turn in parse_rttm_lines(read_lines(path)):
        turns.setdefault(recording, []).append(turn)
    return turns
