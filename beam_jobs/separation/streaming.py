"""Separates recordings as a stream: decoding, the model and writing each have their own thread.

Windows of several recordings share a batch, so that many short recordings take the model no longer
than one long one. The memory that a recording takes does not depend on its length.
"""

import collections
import contextlib
import dataclasses
import datetime
import time
from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.audio.decoding import read_blocks
from beam_jobs.audio.encoding import write_audio
from beam_jobs.audio.resampling import resample_blocks
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.separation.background import in_background
from beam_jobs.separation.inputs import input_version
from beam_jobs.separation.models import Model
from beam_jobs.separation.recording import Recording, SeparationPlan, plan_separation
from beam_jobs.separation.separator import Separator
from beam_jobs.separation.turns import Turn, TurnFinder, format_rttm
from beam_jobs.separation.voices import Aligner
from beam_jobs.separation.windows import OverlapAdd, cut_windows
from beam_jobs.storage import files
from beam_jobs.storage.files import OutputError
from schemas.ledger import Alignment, LedgerRecord, Output, Parameters
from schemas.pcm import Samples

_BLOCK_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A recording that could not be separated.

    Attributes:
        recording: the recording.
        error: the reason; only an `OSError` may be gone at another attempt.
    """

    recording: Recording
    error: Exception


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
) -> Iterator[LedgerRecord | Failure]:
    """Separates recordings one after the other.

    Args:
        recordings: what to separate.
        model: the description of the model.
        separator: the model itself.
        parameters: of the job.
        output: the output folder.

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
            try:
                yield _write_recording(plan, pieces, output)
            except OutputError:
                raise
            except Exception as error:
                given_up.add(index)
                collections.deque(pieces, maxlen=0)
                yield Failure(plan.recording, error)


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
    blocks = read_blocks(plan.recording.file.path, round(_BLOCK_S * header.sample_rate))
    if plan.num_channels < header.num_channels:
        blocks = (block.mean(axis=1, keepdims=True) for block in blocks)
    resampled = resample_blocks(
        blocks, header.sample_rate, model.sample_rate, plan.num_channels, plan.num_samples
    )
    for window in cut_windows(resampled, plan.num_samples, model.framing):
        if plan.joint:
            yield window[np.newaxis]
        else:
            yield np.repeat(window.T[:, :, np.newaxis], model.num_channels, axis=2)


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


def _write_recording(plan: SeparationPlan, pieces: Iterator[_Piece], output: str) -> LedgerRecord:
    """Writes the outputs of a recording from its separated pieces, and returns its record."""
    signals = [_Signal(plan) for _ in range(plan.num_signals)]
    model_s, num_windows = 0.0, 0
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                write_audio(
                    files.join(output, path),
                    audio_format=plan.parameters.audio_format,
                    rates=(plan.model.sample_rate, plan.sample_rate),
                    num_frames=plan.num_frames,
                    num_channels=plan.num_channels,
                )
            )
            for path in plan.paths
        ]
        for piece in pieces:
            if piece.error is not None:
                raise piece.error
            assert piece.audio is not None
            model_s += piece.model_s
            num_windows += len(piece.audio)
            audio = piece.audio if plan.joint else piece.audio.mean(axis=3, keepdims=True)
            # The aligner may hold back one channel longer than another.
            num_done = min(
                signal.add(one, piece.last) for signal, one in zip(signals, audio, strict=True)
            )
            if not num_done:
                continue
            done = [signal.take(num_done) for signal in signals]
            for write, *channels in zip(writers, *done, strict=True):
                write(_join(channels), piece.last)
        if input_version(plan.recording.file.path) != plan.recording.version:
            raise UnusableAudioError("it changed while it was read; the next run takes it again")
        if plan.rttm_path is not None:
            turns = [
                turn
                for channel, signal in enumerate(signals, start=1)
                for turn in signal.find_turns(channel)
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
        num_windows=num_windows,
        outputs=tuple(_find_output(output, path) for path in plan.paths),
        rttm=None if plan.rttm_path is None else _find_output(output, plan.rttm_path),
        alignments=tuple(signal.alignment for signal in signals if signal.alignment is not None),
        model_s=round(model_s, 3),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _find_output(folder: str, path: str) -> Output:
    return Output(path, input_version(files.join(folder, path)).size)


class _Signal:
    """The outputs of one signal: put in order, joined, and listened to for turns."""

    def __init__(self, plan: SeparationPlan) -> None:
        model = plan.model
        self._aligner = None if model.aligned else Aligner(model.framing, model.sample_rate)
        self._join = OverlapAdd(model.framing, plan.num_samples)
        self._turn_finder = None if plan.rttm_path is None else TurnFinder(model.sample_rate)
        self._source_names = model.source_names
        self._done: list[Samples] = []

    def add(self, output: Samples, last: bool) -> int:
        """Adds the outputs of the next window.

        Args:
            output: float32 [sources, length, channels].
            last: whether this is the signal's last window.

        Returns:
            The number of samples that can be taken now.
        """
        windows = [output]
        if self._aligner is not None:
            windows = self._aligner.align(output) + (self._aligner.flush() if last else [])
        self._done += [self._join.add(window) for window in windows]
        return sum(done.shape[1] for done in self._done)

    def take(self, num_samples: int) -> Samples:
        """Takes the next samples of the sources, float32 [sources, samples, channels]."""
        done = _join(self._done)
        self._done = [done[:, num_samples:]] if done.shape[1] > num_samples else []
        taken = done[:, :num_samples]
        if self._turn_finder is not None:
            self._turn_finder.add(taken.mean(axis=2))
        return taken

    def find_turns(self, channel: int) -> list[Turn]:
        """Finds the turns in all that was taken; none if no RTTM file is written."""
        if self._turn_finder is None:
            return []
        return self._turn_finder.find_turns(self._source_names, channel)

    @property
    def alignment(self) -> Alignment | None:
        """The decisions of the aligner, for the ledger; None if the outputs never swap."""
        return None if self._aligner is None else self._aligner.summary()


def _join(parts: Sequence[Samples]) -> Samples:
    """Concatenates arrays along the second axis; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
