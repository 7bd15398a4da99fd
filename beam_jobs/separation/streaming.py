"""Separates recordings as a stream: decoding, the model and writing each have their own thread.

Windows of several recordings share a batch, so that many short recordings take the model no longer
than one long one. The memory that a recording takes does not depend on its length.
"""

import collections
import contextlib
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from beam_jobs.audio.activity import SILENCE_DBFS
from beam_jobs.audio.decoding import read_blocks
from beam_jobs.audio.encoding import write_audio
from beam_jobs.audio.resampling import resample_blocks
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.separation.background import in_background
from beam_jobs.separation.gate import Gate
from beam_jobs.separation.held_windows import HeldWindows, Levels
from beam_jobs.separation.images import spread_over_channels
from beam_jobs.separation.inputs import input_version
from beam_jobs.separation.ledger import read_own_record
from beam_jobs.separation.models import Model
from beam_jobs.separation.recording import Recording, SeparationPlan, plan_separation
from beam_jobs.separation.separator import Separator
from beam_jobs.separation.turns import TurnFinder, format_rttm
from beam_jobs.separation.voice_embedder import VoiceEmbedder
from beam_jobs.separation.voices import VoiceOrder, order_windows
from beam_jobs.separation.window_orders import arrange, arrange_levels_db
from beam_jobs.separation.windows import Framing, OverlapAdd, cut_windows
from beam_jobs.storage import files
from beam_jobs.storage.files import OutputError
from schemas.ledger import LedgerRecord, Output, Parameters, Voices
from schemas.pcm import Samples

_BLOCK_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A recording that could not be separated.

    Attributes:
        recording: the recording.
        error: the reason; only an `OSError` may be gone at another attempt.
        heard_s: the part of the recording that the model has heard, in seconds.
    """

    recording: Recording
    error: Exception
    heard_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """A step of a recording on its way through the model: one window of each of its signals.

    Attributes:
        index: of the recording.
        last: whether this is the last piece of the recording.
        audio: float32 [signals, length, channels], after the model [signals, sources, length,
            channels]; None in the last piece of a recording that failed or was given up.
        error: the reason why the recording failed.
        model_s: the time that the model took, in seconds.
    """

    index: int
    last: bool
    audio: Samples | None = None
    error: Exception | None = None
    model_s: float = 0.0


def separate_recordings(
    recordings: Sequence[Recording],
    *,
    model: Model,
    separator: Separator,
    parameters: Parameters,
    output: str,
    count_heard: Callable[[float], None] = lambda _: None,
) -> Iterator[LedgerRecord | Failure]:
    """Separates recordings one after the other.

    Args:
        recordings: what to separate.
        model: the description of the model.
        separator: the model itself.
        parameters: of the job.
        output: the output folder.
        count_heard: is given the seconds of a recording that each window stands for, as soon as
            the model has heard it.

    Yields:
        For each recording, in order, its record for the ledger once its outputs are in place, or
        the failure.

    Raises:
        OutputError: the outputs can't be written.
    """
    plans = [plan_separation(recording, model, parameters) for recording in recordings]
    given_up: set[int] = set()
    with contextlib.ExitStack() as stack:
        windows = stack.enter_context(in_background(_cut_recordings(plans, given_up)))
        outputs = stack.enter_context(in_background(_run_model(windows, separator, given_up)))
        for index, plan in enumerate(plans):
            pieces = _until_last(outputs)
            work = _Work(count_heard)
            try:
                yield _write_recording(plan, pieces, separator, output, work)
            except OutputError:
                raise
            except Exception as error:
                given_up.add(index)
                collections.deque(pieces, maxlen=0)
                yield Failure(plan.recording, error, work.heard_s)


def _until_last(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    for piece in pieces:
        yield piece
        if piece.last:
            return


def _cut_recordings(plans: Sequence[SeparationPlan], given_up: set[int]) -> Iterator[_Piece]:
    for index, plan in enumerate(plans):
        try:
            num_left = plan.num_windows
            for windows in _cut_recording(plan):
                num_left -= 1
                if index in given_up:
                    break
                yield _Piece(index, last=num_left == 0, audio=windows)
            if num_left:
                yield _Piece(index, last=True)
        except Exception as error:
            yield _Piece(index, last=True, error=error)


def _cut_recording(plan: SeparationPlan) -> Iterator[Samples]:
    """Yields a window of each signal at a time: float32 [signals, length, model's channels]."""
    header, model = plan.recording.header, plan.model
    resampled = resample_blocks(
        _read_recording(plan, plan.num_heard),
        header.sample_rate,
        model.sample_rate,
        plan.num_heard,
        plan.num_samples,
    )
    for window in cut_windows(resampled, plan.num_samples, model.framing):
        if plan.joint:
            yield window[np.newaxis]
        else:
            yield np.repeat(window.T[:, :, np.newaxis], model.num_channels, axis=2)


def _read_recording(plan: SeparationPlan, num_channels: int) -> Iterator[Samples]:
    """Yields the recording, float32 [samples, channels]: all its channels, or their mean."""
    header = plan.recording.header
    blocks = read_blocks(plan.recording.file.path, round(_BLOCK_S * header.sample_rate))
    if plan.recording.gain_db:
        gain = np.float32(10 ** (plan.recording.gain_db / 20))
        blocks = (block * gain for block in blocks)
    if num_channels < header.num_channels:
        blocks = (block.mean(axis=1, keepdims=True) for block in blocks)
    return blocks


def _run_model(
    pieces: Iterator[_Piece], separator: Separator, given_up: set[int]
) -> Iterator[_Piece]:
    failed: set[int] = set()
    for batch in _batches(pieces, separator.batch_size):
        for piece in _separate_batch([one for one in batch if one.index not in failed], separator):
            if piece.index in failed:
                continue
            if piece.error is not None:
                failed.add(piece.index)
                given_up.add(piece.index)
            yield piece


def _batches(pieces: Iterator[_Piece], num_windows: int) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    for piece in pieces:
        batch.append(piece)
        if sum(len(one.audio) for one in batch if one.audio is not None) >= num_windows:
            yield batch
            batch = []
    yield batch


def _separate_batch(batch: Sequence[_Piece], separator: Separator) -> Iterator[_Piece]:
    windows = [piece.audio for piece in batch if piece.audio is not None]
    start_s = time.monotonic()
    try:
        outputs = separator.separate(np.concatenate(windows)) if windows else None
    except Exception as error:
        if len({piece.index for piece in batch}) > 1:
            # Only the recording that the model fails on fails.
            for piece in batch:
                yield from _separate_batch([piece], separator)
        else:
            yield _Piece(batch[0].index, last=True, error=error)
        return
    model_s = (time.monotonic() - start_s) / max(1, len(windows))
    position = 0
    for piece in batch:
        if piece.audio is None or outputs is None:
            yield piece
            continue
        audio = outputs[position : position + len(piece.audio)]
        position += len(piece.audio)
        if np.isfinite(audio.sum(dtype=np.float64)):
            yield dataclasses.replace(piece, audio=audio, model_s=model_s)
        else:
            broken = ArithmeticError("the model's output is infinite or not a number")
            yield _Piece(piece.index, last=True, error=broken)


def _write_recording(
    plan: SeparationPlan,
    pieces: Iterator[_Piece],
    separator: Separator,
    output: str,
    work: "_Work",
) -> LedgerRecord:
    """Writes the outputs of a recording from its separated pieces, and returns its record."""
    header = plan.recording.header
    sharer = separator.sharer if plan.is_widened else None
    block_rate = plan.model.sample_rate if sharer is None else header.sample_rate
    turn_finders = [TurnFinder(plan.model.sample_rate) for _ in range(plan.num_signals)]
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                write_audio(
                    files.join(output, path),
                    audio_format=plan.parameters.audio_format,
                    rates=(block_rate, plan.sample_rate),
                    num_frames=plan.num_frames,
                    num_channels=plan.num_channels,
                )
            )
            for path in plan.paths
        ]
        windows = _check_pieces(pieces, plan, work)
        if separator.embedder is not None:
            windows = stack.enter_context(
                _in_order_of_voices(windows, plan, separator.embedder, work)
            )
        blocks = _join_windows(windows, plan, work, turn_finders)
        if plan.is_spread:
            blocks = _spread_over_channels(blocks, plan)
        if sharer is not None:
            blocks = sharer.widen(
                (block for block, _ in blocks),
                _read_recording(plan, plan.num_channels),
                header.sample_rate,
                header.num_frames,
            )
        for block, last in blocks:
            for write, one in zip(writers, block, strict=True):
                write(one, last)
        if input_version(plan.recording.file.path) != plan.recording.version:
            raise UnusableAudioError("it changed while it was read; the next run takes it again")
        # Another job may have put a recording into the same place since this one looked.
        read_own_record(output, plan.recording.file, plan.recording.version)
        if plan.rttm_path is not None:
            turns = [
                turn
                for channel, finder in enumerate(turn_finders, start=1)
                for turn in finder.find_turns(plan.model.source_names, channel)
            ]
            rttm = format_rttm(plan.recording.file.stem, turns)
            files.write_output(files.join(output, plan.rttm_path), rttm)
    return LedgerRecord(
        path=plan.recording.file.path,
        version=plan.recording.version,
        model=plan.model.name,
        model_fingerprint=plan.model.fingerprint,
        parameters=plan.parameters,
        sample_rate=plan.recording.header.sample_rate,
        num_frames=plan.recording.header.num_frames,
        num_channels=plan.recording.header.num_channels,
        gain_db=plan.recording.gain_db,
        num_windows=work.num_windows,
        outputs=tuple(_find_output(output, path) for path in plan.paths),
        rttm=None if plan.rttm_path is None else _find_output(output, plan.rttm_path),
        voices=tuple(work.voices),
        model_s=round(work.model_s, 3),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _join_windows(
    windows: Iterator[tuple[Samples, bool]],
    plan: SeparationPlan,
    work: "_Work",
    turn_finders: Sequence[TurnFinder],
) -> Iterator[tuple[Samples, bool]]:
    """Joins the outputs of windows, gates them, and tells the turn finders of each signal.

    Yields:
        The finished outputs, float32 [sources, samples, channels], and whether they are the last.
    """
    joins = [OverlapAdd(plan.model.framing, plan.num_samples) for _ in turn_finders]
    for outputs, last in windows:
        done = [join.add(one) for join, one in zip(joins, outputs, strict=True)]
        if work.gates:
            done = [gate.apply(one) for gate, one in zip(work.gates, done, strict=True)]
        if plan.rttm_path is not None:
            for finder, sources in zip(turn_finders, done, strict=True):
                finder.add(sources.mean(axis=2))
        yield done[0] if len(done) == 1 else np.concatenate(done, axis=2), last


def _spread_over_channels(
    blocks: Iterator[tuple[Samples, bool]], plan: SeparationPlan
) -> Iterator[tuple[Samples, bool]]:
    rate = plan.model.sample_rate
    recording = resample_blocks(
        _read_recording(plan, plan.num_channels),
        plan.recording.header.sample_rate,
        rate,
        plan.num_channels,
        plan.num_samples,
    )
    return spread_over_channels((block for block, _ in blocks), recording, rate, plan.num_samples)


def _find_output(folder: str, path: str) -> Output:
    return Output(path, input_version(files.join(folder, path)).size)


@dataclasses.dataclass(slots=True)
class _Work:
    """The work on a recording so far.

    Attributes:
        count_heard: is given the seconds that each window stands for.
        heard_s: the sum of them.
        model_s: the time that the model took, in seconds.
        num_windows: the windows that went through the model.
        voices: of each signal, if the model's outputs may swap.
        gates: of each signal, if they are asked for and the model's outputs may swap.
    """

    count_heard: Callable[[float], None]
    heard_s: float = 0.0
    model_s: float = 0.0
    num_windows: int = 0
    voices: list[Voices] = dataclasses.field(default_factory=list)
    gates: list[Gate] = dataclasses.field(default_factory=list)


def _check_pieces(
    pieces: Iterator[_Piece], plan: SeparationPlan, work: _Work
) -> Iterator[tuple[Samples, bool]]:
    """Yields the outputs of each window, and whether it is the last.

    The outputs are float32 [signals, sources, length, channels].
    """
    for piece in pieces:
        if piece.error is not None:
            raise piece.error
        assert piece.audio is not None
        work.model_s += piece.model_s
        work.num_windows += len(piece.audio)
        heard_s = plan.recording.duration_s / plan.num_windows
        work.heard_s += heard_s
        work.count_heard(heard_s)
        yield piece.audio if plan.joint else piece.audio.mean(axis=3, keepdims=True), piece.last


@contextlib.contextmanager
def _in_order_of_voices(
    windows: Iterator[tuple[Samples, bool]],
    plan: SeparationPlan,
    embedder: VoiceEmbedder,
    work: _Work,
) -> Iterator[Iterator[tuple[Samples, bool]]]:
    """Holds the outputs of all windows until the recording's voices are known.

    Yields:
        An iterator as `_check_pieces` is, with the same voice in the same place in every window.
    """
    rate, framing = plan.model.sample_rate, plan.model.framing
    with contextlib.ExitStack() as stack:
        signals = [
            stack.enter_context(contextlib.closing(HeldWindows(rate)))
            for _ in range(plan.num_signals)
        ]
        for outputs, _ in windows:
            for held, one in zip(signals, outputs, strict=True):
                held.add(one)
        found = [order_windows(held, framing, embedder, rate) for held in signals]
        work.voices += [
            Voices(
                number=one.num_voices,
                more_than_outputs=one.more_voices,
                confidence=round(one.confidence, 3),
                changes_in_windows=one.num_changes,
            )
            for one in found
        ]
        if plan.parameters.gate:
            work.gates += [
                Gate(_find_levels_db(held, order, framing, rate), rate)
                for held, order in zip(signals, found, strict=True)
            ]

        def ordered() -> Iterator[tuple[Samples, bool]]:
            num_windows = len(signals[0])
            for window in range(num_windows):
                outputs = [
                    _give_to_voices(held[window], order, window, rate)
                    for held, order in zip(signals, found, strict=True)
                ]
                yield np.stack(outputs), window == num_windows - 1

        yield ordered()


def _give_to_voices(outputs: Samples, order: VoiceOrder, window: int, sample_rate: int) -> Samples:
    """Puts the outputs of a window in the order of the voices; voices that never speak are silent.

    Args:
        outputs: float32 [sources, length, channels].
        order: of the recording.
        window: its number.
        sample_rate: in Hz.
    """
    if order.num_voices == 1:
        # What a network takes out of a single voice belongs to it, too.
        arranged = np.zeros_like(outputs)
        arranged[0] = outputs.sum(axis=0)
        return arranged
    arranged = arrange(outputs, order.changes[window], sample_rate)
    arranged[order.num_voices :] = 0
    return arranged


def _find_levels_db(
    held: HeldWindows, order: VoiceOrder, framing: Framing, sample_rate: int
) -> Levels:
    """Returns the levels of the voices that `_give_to_voices` makes, float32 [voices, frames]."""
    levels_db = arrange_levels_db(held.levels_db, order.changes, framing, sample_rate)
    if order.num_voices == 1:
        levels_db[0] = 10 * np.log10(np.sum(10 ** (levels_db / 10), axis=0))
    levels_db[order.num_voices :] = SILENCE_DBFS
    return levels_db
