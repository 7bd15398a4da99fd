"""Separating recordings as a stream: decode, model, write, each in a thread of its own.

Windows of several recordings share a batch, so that many short recordings cost the model no more
than one long one, and the memory that a recording takes does not depend on its length.
"""

import collections
import contextlib
import dataclasses
import datetime
import time
from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.audio.decoding import read_blocks
from beam_jobs.audio.encoding import OPUS_SAMPLE_RATES, write_audio
from beam_jobs.audio.resampling import resample_blocks
from beam_jobs.audio.types import AudioHeader, UnusableAudioError
from beam_jobs.separation.background import in_background
from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.separation.models import Model
from beam_jobs.separation.output_names import output_paths
from beam_jobs.separation.separator import Separator
from beam_jobs.separation.turns import Activity, format_rttm
from beam_jobs.separation.voices import Aligner
from beam_jobs.separation.windows import OverlapAdd, cut_windows
from beam_jobs.storage import files
from beam_jobs.storage.files import OutputError
from schemas.ledger import Alignment, InputVersion, LedgerRecord, Output, Parameters
from schemas.pcm import Samples

RTTM_SUFFIX = ".rttm"

_BLOCK_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """A file that is to be separated.

    Attributes:
        file: the file.
        version: when it was found.
        header: what it says of itself.
    """

    file: InputFile
    version: InputVersion
    header: AudioHeader

    @property
    def duration_s(self) -> float:
        """The length in seconds."""
        return self.header.num_frames / self.header.sample_rate


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A recording that could not be separated.

    Attributes:
        recording: which.
        error: why; an `OSError` may pass, any other will come again.
    """

    recording: Recording
    error: Exception


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """One step of a recording on its way: windows, and after the model, their outputs.

    Attributes:
        index: of the recording.
        last: whether nothing of the recording comes after it.
        audio: float32 [signals, length, channels], after the model [signals, sources, length,
            channels]; none in the last piece of a recording that failed or was given up.
        error: why it failed.
        model_s: how long the model took.
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
        model: the model's description.
        separator: the model.
        parameters: how.
        output: the output folder.

    Yields:
        For each recording, in order, the record for the ledger when its outputs are in place, or
        why it has none.

    Raises:
        OutputError: the outputs can't be written.
    """
    given_up: set[int] = set()
    with contextlib.ExitStack() as stack:
        windows = stack.enter_context(
            in_background(_cut_recordings(recordings, model, parameters, given_up))
        )
        outputs = stack.enter_context(in_background(_run_model(windows, separator, given_up)))
        for index, recording in enumerate(recordings):
            pieces = _until_last(outputs)
            try:
                yield _write_recording(recording, pieces, model, parameters, output)
            except OutputError:
                raise
            except Exception as error:
                given_up.add(index)
                collections.deque(pieces, maxlen=0)
                yield Failure(recording, error)


def _until_last(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    for piece in pieces:
        yield piece
        if piece.last:
            return


def _cut_recordings(
    recordings: Sequence[Recording], model: Model, parameters: Parameters, given_up: set[int]
) -> Iterator[_Piece]:
    for index, recording in enumerate(recordings):
        try:
            windows = _cut_recording(recording, model, parameters)
            num_left = model.framing.num_windows(_num_model_samples(recording, model))
            for window in windows:
                num_left -= 1
                if index in given_up:
                    break
                yield _Piece(index, last=num_left == 0, audio=window)
            if num_left:
                yield _Piece(index, last=True)
        except Exception as error:
            yield _Piece(index, last=True, error=error)


def _cut_recording(recording: Recording, model: Model, parameters: Parameters) -> Iterator[Samples]:
    """float32 [signals, length, model's channels] for each window."""
    together = _goes_in_together(recording, model, parameters)
    rate, num_samples = recording.header.sample_rate, _num_model_samples(recording, model)
    num_channels = _num_output_channels(recording, model, parameters)
    blocks = read_blocks(recording.file.path, round(_BLOCK_S * rate))
    if num_channels < recording.header.num_channels:
        blocks = (block.mean(axis=1, keepdims=True) for block in blocks)
    resampled = resample_blocks(blocks, rate, model.sample_rate, num_channels, num_samples)
    for window in cut_windows(resampled, num_samples, model.framing):
        if together:
            yield window[np.newaxis]
        else:
            yield np.repeat(window.T[:, :, np.newaxis], model.num_channels, axis=2)


def _goes_in_together(recording: Recording, model: Model, parameters: Parameters) -> bool:
    return parameters.channels == "mix" and recording.header.num_channels == model.num_channels


def _num_output_channels(recording: Recording, model: Model, parameters: Parameters) -> int:
    if parameters.channels == "each" or _goes_in_together(recording, model, parameters):
        return recording.header.num_channels
    return 1


def _num_model_samples(recording: Recording, model: Model) -> int:
    header = recording.header
    return max(1, round(header.num_frames * model.sample_rate / header.sample_rate))


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
    recording: Recording,
    pieces: Iterator[_Piece],
    model: Model,
    parameters: Parameters,
    output: str,
) -> LedgerRecord:
    paths = output_paths(recording.file.relative_path, model.source_names, parameters)
    together = _goes_in_together(recording, model, parameters)
    num_samples = _num_model_samples(recording, model)
    num_channels = _num_output_channels(recording, model, parameters)
    signals = [_Signal(model, num_samples) for _ in range(1 if together else num_channels)]
    rate = _output_rate(recording, model, parameters)
    num_frames = (
        recording.header.num_frames
        if rate == recording.header.sample_rate
        else max(1, round(num_samples * rate / model.sample_rate))
    )
    model_s, num_windows = 0.0, 0
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                write_audio(
                    files.join(output, path),
                    audio_format=parameters.audio_format,
                    rates=(model.sample_rate, rate),
                    num_frames=num_frames,
                    num_channels=num_channels,
                )
            )
            for path in paths
        ]
        activities = [Activity(model.sample_rate) for _ in signals] if parameters.rttm else []
        for piece in pieces:
            if piece.error is not None:
                raise piece.error
            assert piece.audio is not None
            model_s += piece.model_s
            num_windows += len(piece.audio)
            audio = piece.audio if together else piece.audio.mean(axis=3, keepdims=True)
            # One channel's speakers may be told apart later than another's.
            num_done = min(
                signal.add(one, piece.last) for signal, one in zip(signals, audio, strict=True)
            )
            if not num_done:
                continue
            done = [signal.take(num_done) for signal in signals]
            for activity, sources in zip(activities, done, strict=False):
                activity.add(sources.mean(axis=2))
            for write, *channels in zip(writers, *done, strict=True):
                write(_join(channels), piece.last)
        if input_version(recording.file.path) != recording.version:
            raise UnusableAudioError("it changed while it was read; the next run takes it again")
        rttm_path = None
        if parameters.rttm:
            turns = [
                turn
                for channel, activity in enumerate(activities, start=1)
                for turn in activity.turns(model.source_names, channel)
            ]
            rttm_path = recording.file.relative_path + RTTM_SUFFIX
            files.write_output(
                files.join(output, rttm_path), format_rttm(recording.file.stem, turns)
            )
    return LedgerRecord(
        path=recording.file.path,
        version=recording.version,
        model=model.name,
        model_fingerprint=model.fingerprint,
        parameters=parameters,
        sample_rate=recording.header.sample_rate,
        num_frames=recording.header.num_frames,
        num_channels=recording.header.num_channels,
        num_windows=num_windows,
        outputs=tuple(_written(output, path) for path in paths),
        rttm=None if rttm_path is None else _written(output, rttm_path),
        alignments=tuple(signal.alignment for signal in signals if signal.alignment is not None),
        model_s=round(model_s, 3),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _written(output: str, path: str) -> Output:
    return Output(path, input_version(files.join(output, path)).size)


def _output_rate(recording: Recording, model: Model, parameters: Parameters) -> int:
    rate = model.sample_rate if parameters.sample_rate == "model" else recording.header.sample_rate
    if parameters.audio_format != "opus":
        return rate
    return next((one for one in OPUS_SAMPLE_RATES if one >= rate), OPUS_SAMPLE_RATES[-1])


class _Signal:
    """The outputs of one signal's windows, put in order and joined."""

    def __init__(self, model: Model, num_samples: int) -> None:
        self._aligner = None if model.aligned else Aligner(model.framing, model.sample_rate)
        self._join = OverlapAdd(model.framing, num_samples)
        self._done: list[Samples] = []

    def add(self, output: Samples, last: bool) -> int:
        """Adds a window's float32 [sources, length, channels]; returns how much there is now."""
        windows = [output]
        if self._aligner is not None:
            windows = self._aligner.align(output) + (self._aligner.flush() if last else [])
        self._done += [self._join.add(window) for window in windows]
        return sum(done.shape[1] for done in self._done)

    def take(self, num_samples: int) -> Samples:
        """float32 [sources, samples, channels]."""
        done = _join(self._done)
        self._done = [done[:, num_samples:]] if done.shape[1] > num_samples else []
        return done[:, :num_samples]

    @property
    def alignment(self) -> Alignment | None:
        """How it was put in order, for the ledger."""
        return None if self._aligner is None else self._aligner.summary()


def _join(parts: Sequence[Samples]) -> Samples:
    """Puts arrays together along the second axis; one alone needs no copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
