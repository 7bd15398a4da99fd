"""The archive job's transforms: inspect files, separate recordings, count and reject."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.runtime import retries
from beam_jobs.runtime.dead_letters import REJECTED, Rejected
from beam_jobs.runtime.retries import may_pass, with_retries
from beam_jobs.runtime.work_counts import CountingDoFn
from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.separation.ledger import (
    Owners,
    is_done,
    read_own_record,
    record_path,
    write_record,
)
from beam_jobs.separation.models import Model
from beam_jobs.separation.output_names import output_paths, rttm_path
from beam_jobs.separation.recording import Recording, inspect_recording
from beam_jobs.separation.rejected_transforms import WriteRejected
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.streaming import Failure, separate_recordings
from beam_jobs.separation.summary import Counts, count_separated
from beam_jobs.storage import files
from beam_jobs.storage.files import UnwritableNameError
from schemas.ledger import LedgerRecord, Parameters

# Recordings up to this length are batched until a batch is about this long.
BATCH_S = 60.0

_SHORT, _LONG, _COUNTS = "short", "long", "counts"


class SeparateArchive(beam.PTransform[PCollection[InputFile], PCollection[Counts]]):
    """Separates the files of an archive that its ledger does not list, and writes `rejected.jsonl`.

    Input: `InputFile`. Output: one `Counts` of all files.
    """

    def __init__(
        self,
        *,
        model: Model,
        parameters: Parameters,
        output: str,
        counts_folder: str,
        rejected: Sequence[Rejected] = (),
        force: bool = False,
        num_threads: int = 0,
    ) -> None:
        """Takes the settings of the job.

        Args:
            model: the model's description.
            parameters: of the job.
            output: the output folder, where the ledger is.
            counts_folder: where workers keep count of what they have done.
            rejected: what else is in the archive and can't be separated.
            force: whether files that the ledger lists are separated again.
            num_threads: the threads that compute in each process; 0 is one for each core.
        """
        self._model = model
        self._parameters = parameters
        self._output = output
        self._counts_folder = counts_folder
        self._rejected = rejected
        self._force = force
        self._num_threads = num_threads

    def expand(self, inputs: PCollection[InputFile]) -> PCollection[Counts]:
        """Inspects the files, separates short and long recordings, and adds up the counts."""
        found = (
            inputs
            | "SpreadFiles" >> beam.Reshuffle()
            | "Inspect"
            >> beam.ParDo(
                _Inspect(
                    self._model, self._parameters, self._output, self._counts_folder, self._force
                )
            ).with_outputs(_SHORT, _LONG, _COUNTS, REJECTED)
        )
        separate = _Separate(
            self._model, self._parameters, self._output, self._counts_folder, self._num_threads
        )
        # In two steps, so that short recordings need not wait for long ones.
        short = (
            found[_SHORT]
            | "BatchShort" >> beam.ParDo(_Batch())
            | "SpreadBatches" >> beam.Reshuffle()
            | "SeparateShort" >> beam.ParDo(separate).with_outputs(_COUNTS, REJECTED)
        )
        long = (
            found[_LONG]
            | "OneEach" >> beam.Map(lambda recording: [recording])
            | "SpreadLong" >> beam.Reshuffle()
            | "SeparateLong" >> beam.ParDo(separate).with_outputs(_COUNTS, REJECTED)
        )
        unusable = inputs.pipeline | "Unusable" >> beam.Create(self._rejected)
        num_rejected = (
            (unusable, found[REJECTED], short[REJECTED], long[REJECTED])
            | "AllRejected" >> beam.Flatten()
            | "WriteRejected" >> WriteRejected(self._output)
        )
        rejected = num_rejected | "CountRejected" >> beam.Map(lambda num: Counts(rejected=num))
        counts: PCollection[Counts] = (
            (found[_COUNTS], short[_COUNTS], long[_COUNTS], rejected)
            | "AllCounts" >> beam.Flatten()
            | "AddUp" >> beam.CombineGlobally(lambda counts: sum(counts, Counts()))
        )
        return counts


class _Inspect(CountingDoFn):
    """Reads headers, and passes on the recordings that the ledger does not list."""

    def __init__(
        self,
        model: Model,
        parameters: Parameters,
        output: str,
        counts_folder: str,
        force: bool,
    ) -> None:
        super().__init__(counts_folder)
        self._model = model
        self._parameters = parameters
        self._output = output
        self._force = force
        self._shared = Shared()

    def process(self, file: InputFile) -> Iterator[Any]:  # type: ignore[override]
        try:
            found = with_retries(lambda: self._inspect(file))
        except Exception as error:
            self.recorder.add(looked=1)
            yield self.reject(file.path, error)
            return
        if found is None:
            self.recorder.add(looked=1, skipped=1)
            yield TaggedOutput(_COUNTS, Counts(skipped=1))
        else:
            self.recorder.add(looked=1, found_s=found.duration_s)
            yield TaggedOutput(_SHORT if found.duration_s <= BATCH_S else _LONG, found)

    def _inspect(self, file: InputFile) -> Recording | None:
        version = input_version(file.path)
        own = read_own_record(self._output, file, version)
        if (
            own is not None
            and not self._force
            and is_done(
                self._output,
                own,
                file,
                version=version,
                model_fingerprint=self._model.fingerprint,
                parameters=self._parameters,
            )
        ):
            return None
        place = file.relative_path
        paths = output_paths(place, self._model.source_names, self._parameters)
        if self._parameters.rttm:
            paths = (*paths, rttm_path(place))
        for path in (record_path("", place), *paths):
            files.check_name(files.join(self._output, path))
        self._shared.acquire(lambda: Owners(self._output)).check(file, own, paths)
        return inspect_recording(file, version)


class _Batch(beam.DoFn):
    """Puts recordings together until a batch is `BATCH_S` long."""

    def __init__(self) -> None:
        self._batch: list[Recording] = []

    def start_bundle(self) -> None:
        self._batch = []

    def process(self, recording: Recording) -> Iterator[list[Recording]]:  # type: ignore[override]
        self._batch.append(recording)
        if sum(one.duration_s for one in self._batch) >= BATCH_S:
            yield self._batch
            self._batch = []

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._batch:
            window = GlobalWindow()
            yield WindowedValue(self._batch, window.max_timestamp(), (window,))


class _Separate(CountingDoFn):
    """Separates recordings and enters them in the ledger; the model is loaded once a process."""

    def __init__(
        self,
        model: Model,
        parameters: Parameters,
        output: str,
        counts_folder: str,
        num_threads: int,
    ) -> None:
        super().__init__(counts_folder)
        self._model = model
        self._parameters = parameters
        self._output = output
        self._num_threads = num_threads
        self._shared = Shared()

    def process(self, recordings: Sequence[Recording]) -> Iterator[Any]:  # type: ignore[override]
        start_s = time.monotonic()
        for wait_s in (*retries.RETRY_AFTER_S, None):
            failures = []
            for recording, outcome in zip(recordings, self._separate(recordings), strict=True):
                if not isinstance(outcome, Failure):
                    try:
                        write_record(self._output, recording.file, outcome)
                    except UnwritableNameError as error:
                        yield self.reject(recording.file.path, error)
                        continue
                    self.recorder.add(done=1)
                    place = recording.file.relative_path
                    yield TaggedOutput(_COUNTS, count_separated(place, outcome))
                elif wait_s is not None and may_pass(outcome.error):
                    self.recorder.add(done_s=-outcome.heard_s)
                    failures.append(outcome)
                else:
                    self.recorder.add(done_s=recording.duration_s - outcome.heard_s)
                    yield self.reject(recording.file.path, outcome.error)
            if not failures or wait_s is None:
                break
            time.sleep(wait_s)
            recordings = [failure.recording for failure in failures]
        yield TaggedOutput(_COUNTS, Counts(busy_s=time.monotonic() - start_s))

    def _separate(self, recordings: Sequence[Recording]) -> Iterator[LedgerRecord | Failure]:
        # Here rather than in setup, so that a run with nothing to do does not load the model.
        separator = self._shared.acquire(lambda: load_separator(self._model, self._num_threads))
        return separate_recordings(
            recordings,
            model=self._model,
            separator=separator,
            parameters=self._parameters,
            output=self._output,
            count_heard=lambda heard_s: self.recorder.add(done_s=heard_s),
        )
