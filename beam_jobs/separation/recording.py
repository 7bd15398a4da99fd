"""A recording that is to be separated, and the plan for separating it."""

import dataclasses
import math

from beam_jobs.audio.decoding import read_blocks, read_header
from beam_jobs.audio.encoding import OPUS_SAMPLE_RATES
from beam_jobs.audio.types import AudioHeader
from beam_jobs.separation.inputs import InputFile
from beam_jobs.separation.models import Model
from beam_jobs.separation.output_names import output_paths, rttm_path
from schemas.ledger import InputVersion, Parameters


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """A file that is to be separated.

    Attributes:
        file: the file.
        version: of the file when it was found.
        header: of the file.
        gain_db: 0, or less where the file exceeds full scale, which the outputs can't.
    """

    file: InputFile
    version: InputVersion
    header: AudioHeader
    gain_db: float = 0.0

    @property
    def duration_s(self) -> float:
        """The length in seconds."""
        return self.header.num_frames / self.header.sample_rate


def inspect_recording(file: InputFile, version: InputVersion) -> Recording:
    """Reads the header of a file and, if its samples are floating point, the file for its peak.

    Raises:
        UnusableAudioError: the file can't be decoded.
    """
    header = read_header(file.path)
    gain_db = 0.0
    if header.is_float:
        blocks = read_blocks(file.path, header.sample_rate)
        peak = max(max(float(block.max()), -float(block.min())) for block in blocks)
        if peak > 1:
            # Rounded away from full scale, to a number that people can read.
            gain_db = -math.ceil(20 * math.log10(peak) * 100) / 100
    return Recording(file, version, header, gain_db)


@dataclasses.dataclass(frozen=True, slots=True)
class SeparationPlan:
    """The signals, lengths, rates and paths that follow from a recording, a model and parameters.

    Attributes:
        recording: the recording.
        model: the model.
        parameters: of the job.
        joint: whether all channels go into the model as one signal; if not, each channel, or the
            mean of all of them, is a signal of its own.
        num_heard: the channels of what is separated: 1 for the mean.
        num_channels: of each output.
        num_samples: the length of the recording at the model's rate.
        sample_rate: of the outputs, in Hz.
        num_frames: the length of the outputs at their own rate.
        paths: of the outputs, relative to the output folder, in the order of the sources.
        rttm_path: of the RTTM file, relative to the output folder; None if none is written.
    """

    recording: Recording
    model: Model
    parameters: Parameters
    joint: bool
    num_heard: int
    num_channels: int
    num_samples: int
    sample_rate: int
    num_frames: int
    paths: tuple[str, ...]
    rttm_path: str | None

    @property
    def num_signals(self) -> int:
        """The number of signals that are separated, each in windows of its own."""
        return 1 if self.joint else self.num_heard

    @property
    def is_spread(self) -> bool:
        """Whether what is separated is spread over more channels."""
        return self.num_channels > self.num_heard

    @property
    def is_widened(self) -> bool:
        """Whether the outputs get what the recording has above the model's band."""
        rates = (self.sample_rate, self.recording.header.sample_rate)
        return self.model.upper_band is not None and min(rates) > self.model.sample_rate

    @property
    def num_windows(self) -> int:
        """The number of windows that each signal is cut into."""
        return self.model.framing.num_windows(self.num_samples)


def plan_separation(recording: Recording, model: Model, parameters: Parameters) -> SeparationPlan:
    """Plans the separation of a recording.

    Raises:
        NamingError: the name template has an unknown field, or leads out of the output folder.
    """
    header, place = recording.header, recording.file.relative_path
    joint = parameters.channels != "each" and header.num_channels == model.num_channels
    num_heard = header.num_channels if joint or parameters.channels == "each" else 1
    num_samples = max(1, round(header.num_frames * model.sample_rate / header.sample_rate))
    sample_rate = _output_rate(recording, model, parameters)
    return SeparationPlan(
        recording=recording,
        model=model,
        parameters=parameters,
        joint=joint,
        num_heard=num_heard,
        num_channels=num_heard if parameters.channels == "mix" else header.num_channels,
        num_samples=num_samples,
        sample_rate=sample_rate,
        num_frames=(
            header.num_frames
            if sample_rate == header.sample_rate
            else max(1, round(num_samples * sample_rate / model.sample_rate))
        ),
        paths=output_paths(place, model.source_names, parameters),
        rttm_path=rttm_path(place) if parameters.rttm else None,
    )


def _output_rate(recording: Recording, model: Model, parameters: Parameters) -> int:
    rate = model.sample_rate if parameters.sample_rate == "model" else recording.header.sample_rate
    if parameters.audio_format != "opus":
        return rate
    return next((one for one in OPUS_SAMPLE_RATES if one >= rate), OPUS_SAMPLE_RATES[-1])
