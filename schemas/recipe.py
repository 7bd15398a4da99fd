"""Recipes: complete descriptions of mixtures, small enough to travel between workers.

Times in a file are in frames of that file, times in a mixture in seconds. So a recipe can be
rendered at any sample rate, and at its own it is exact to the sample.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from schemas.transmission import Step, parse_steps, steps_document
from schemas.validation import InvalidDocumentError, check_document, load_document

VERSION = 1

MAX_ROWS = 10

# What a recipe says nothing of where its dataset has none.
_OFTEN_MISSING = (
    *("mixture", "noise_events", "transmission", "enrolments", "enrolment_s", "num_rows"),
)


def _document(record: Any) -> dict[str, Any]:
    document = dataclasses.asdict(record)
    if isinstance(record, Noise | NoiseEvent):
        document[document.pop("level_kind")] = document.pop("level")
    return document


_ENCODER = json.JSONEncoder(
    default=_document,
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
)

LevelKind = Literal["gain_db", "loudness_lufs", "rms_dbfs"]
NoiseLevelKind = Literal["gain_db", "loudness_lufs", "snr_db"]
Resampler = Literal["soxr", "resample_poly"]
Channels = Literal["average", "stereo"] | int
"""`average` mixes the channels of each file down, a number picks one, from 0. `stereo` keeps two; a
mono file is in both."""


@dataclasses.dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of one speaker's clean speech.

    Attributes:
        id: unique within the job; does not depend on the folder of the corpus.
        corpus: the name of the corpus, as `--corpus` gives it.
        path: the audio file, relative to the corpus.
        speaker: the speaker's id.
        gender: `f`, `m`, or empty if the corpus does not say.
        split: the corpus's own split, or empty.
        start: the first frame, counted in the file's own frames.
        stop: the frame after the last.
        sample_rate: the file's own, in Hz.
        num_channels: the file's own.
        channel: the channel of the file that has the speaker, from 0; None for all of them.
        text: what is said, on one line; None if the corpus does not say.
        language: in which it is said, as the corpus spells it; None if the corpus does not say.
        speed: of playing, relative to the recording; the pitch changes with it.
    """

    id: str
    corpus: str
    path: str
    speaker: str
    gender: str
    split: str
    start: int
    stop: int
    sample_rate: int
    num_channels: int
    channel: int | None = None
    text: str | None = None
    language: str | None = None
    speed: float = 1.0

    @property
    def played_rate(self) -> float:
        """The number of frames of the file in a second of its sound as it is played."""
        return self.sample_rate * self.speed

    @property
    def duration_s(self) -> float:
        """The length in seconds."""
        return (self.stop - self.start) / self.played_rate

    def place(
        self,
        start: int,
        stop: int,
        *,
        offset_s: float,
        level_kind: LevelKind,
        level: float,
        row: int | None = None,
    ) -> "Source":
        """Returns the source that this utterance, or a part of it, is in a mixture.

        Args:
            start: the first frame used, counted in the file's own frames.
            stop: the frame after the last one used.
            offset_s: as in `Source`.
            level_kind: as in `Source`.
            level: as in `Source`.
            row: as in `Source`.
        """
        is_whole = (start, stop) == (self.start, self.stop)
        return Source(
            utterance=self.id,
            corpus=self.corpus,
            path=self.path,
            speaker=self.speaker,
            gender=self.gender,
            start=start,
            stop=stop,
            file_sample_rate=self.sample_rate,
            offset_s=offset_s,
            level_kind=level_kind,
            level=level,
            row=row,
            speed=self.speed if self.speed != 1 else None,
            channel=self.channel,
            # Nobody knows which words a cut leaves.
            text=self.text if is_whole else None,
            language=self.language,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedRoom:
    """A recorded room response.

    Attributes:
        corpus: the name of the corpus of room responses.
        path: the audio file, relative to the corpus.
        stop: the frame after the last, counted in the file's own frames.
        file_sample_rate: the file's own, in Hz.
    """

    corpus: str
    path: str
    stop: int
    file_sample_rate: int


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedRoom:
    """A room without furniture, with the positions of a speaker and the microphone.

    Attributes:
        size_m: length, width and height.
        rt60_s: the time in which sound decays by 60 dB, in seconds.
        microphone_m: the position of the microphone, from one lower corner.
        speaker_m: the position of the speaker, from the same corner.
    """

    size_m: tuple[float, float, float]
    rt60_s: float
    microphone_m: tuple[float, float, float]
    speaker_m: tuple[float, float, float]


Room = RecordedRoom | SimulatedRoom


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """An utterance, or a part of one, placed in a mixture.

    Attributes:
        utterance: the id of the utterance.
        corpus: the name of the corpus.
        path: the audio file, relative to the corpus.
        speaker: the speaker's id.
        gender: `f`, `m`, or empty if the corpus does not say.
        start: the first frame used, counted in the file's own frames.
        stop: the frame after the last one used.
        file_sample_rate: the file's own, in Hz.
        offset_s: the start of the source in the mixture, in seconds.
        level_kind: the meaning of `level`: `gain_db` changes the level of the file,
            `loudness_lufs` (ITU-R BS.1770) and `rms_dbfs` are the level of the source.
        level: in the unit that `level_kind` names.
        row: the row of the dataset's `sources`, if a row has several utterances of a speaker; None
            if each source is a row of its own.
        speed: of playing, relative to the recording; the pitch changes with it. None leaves the
            recording as it is.
        room: the room in which the source sounds, the same for a whole row; None adds no room.
        channel: the channel of the file that has the speaker, from 0; None treats the file as the
            recipe's `channels` say.
        text: what is said; None if only a part of the utterance is used, or nobody has written it
            down.
        language: in which it is said, as the corpus spells it; None if the corpus does not say.
    """

    utterance: str
    corpus: str
    path: str
    speaker: str
    gender: str
    start: int
    stop: int
    file_sample_rate: int
    offset_s: float
    level_kind: LevelKind
    level: float
    row: int | None = None
    speed: float | None = None
    room: Room | None = None
    channel: int | None = None
    text: str | None = None
    language: str | None = None

    @property
    def played_rate(self) -> float:
        """The number of frames of the file in a second of its sound as it is played."""
        return self.file_sample_rate * (self.speed or 1)

    @property
    def duration_s(self) -> float:
        """The length in seconds, without the reverberation of a room."""
        return (self.stop - self.start) / self.played_rate


@dataclasses.dataclass(frozen=True, slots=True)
class Noise:
    """A stretch of noise under a whole mixture, repeated if it is too short.

    Attributes:
        corpus: the name of the noise corpus.
        path: the audio file, relative to the corpus.
        start: the first frame used, counted in the file's own frames.
        stop: the frame after the last one used.
        num_frames: the length after repeating, in the file's frames; each repetition fades into
            the next one.
        file_sample_rate: the file's own, in Hz.
        level_kind: the meaning of `level`: `gain_db` changes the level of the file,
            `loudness_lufs` (ITU-R BS.1770) is the level of the noise, and `snr_db` is the power of
            the sum of the sources over that of the noise, both over the whole mixture.
        level: in the unit that `level_kind` names.
    """

    corpus: str
    path: str
    start: int
    stop: int
    num_frames: int
    file_sample_rate: int
    level_kind: NoiseLevelKind
    level: float


@dataclasses.dataclass(frozen=True, slots=True)
class NoiseEvent:
    """A sound that begins and ends within a mixture, faded in and out over 10 ms.

    Attributes:
        corpus: the name of the noise corpus.
        path: the audio file, relative to the corpus.
        start: the first frame used, counted in the file's own frames.
        stop: the frame after the last one used.
        file_sample_rate: the file's own, in Hz.
        offset_s: the start of the event in the mixture, in seconds.
        level_kind: as in `Noise`, but over the time in which the event sounds. `snr_db` is the
            power of the sum of the sources, over the whole mixture as for `Noise`, over that of the
            event.
        level: in the unit that `level_kind` names.
    """

    corpus: str
    path: str
    start: int
    stop: int
    file_sample_rate: int
    offset_s: float
    level_kind: NoiseLevelKind
    level: float

    @property
    def duration_s(self) -> float:
        """The length in seconds."""
        return (self.stop - self.start) / self.file_sample_rate


@dataclasses.dataclass(frozen=True, slots=True)
class GivenMixture:
    """A recording that is the mixture itself, rather than the sum of its sources.

    Attributes:
        corpus: the name of the corpus.
        path: the audio file, relative to the corpus.
        start: the first frame used, counted in the file's own frames.
        stop: the frame after the last one used.
        file_sample_rate: the file's own, in Hz.
    """

    corpus: str
    path: str
    start: int
    stop: int
    file_sample_rate: int

    @property
    def played_rate(self) -> float:
        """The number of frames of the file in a second of its sound as it is played."""
        return self.file_sample_rate


Part = Source | Noise | NoiseEvent | RecordedRoom | GivenMixture
"""A part of a mixture that has a file."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """The complete description of one mixture.

    Attributes:
        id: unique within the dataset, such as `train-000000042`.
        split: train, validation or test.
        sample_rate: at which the mixture is rendered, in Hz.
        duration_s: the length of the mixture in seconds.
        channels: the treatment of the channels of each file.
        sources: in the order of the dataset's `sources`, and within a row in the order of time.
        common_gain_db: the gain of all sources that kept the rendered mixture from clipping; 0 in a
            recipe that has not been rendered. Each rendering determines it again.
        noise: the noise under the sources, or None.
        resampler: `soxr`, or SciPy's `resample_poly` to match datasets of others.
        mixture: the recording that is the mixture, or None if it is the sum of its parts.
        noise_events: in any order; empty in a dataset with events whose mixture happens to have
            none, None in a dataset without.
        transmission: the steps that the mixture goes through, in order, to become the dataset's
            `degraded`; empty where it stays as it is, and None where there is no `degraded`.
        enrolments: another utterance of the speaker of each row, in the order of the rows, or a
            part of it; each starts at 0, at the level of its row and without a room.
        enrolment_s: the length to which enrolments are padded, in seconds; None without any.
        num_rows: of the dataset's `sources`, where that is more than the mixture has: those behind
            its own are silent. None for no others.
    """

    id: str
    split: str
    sample_rate: int
    duration_s: float
    channels: Channels
    sources: tuple[Source, ...]
    common_gain_db: float = 0.0
    noise: Noise | None = None
    resampler: Resampler = "soxr"
    mixture: GivenMixture | None = None
    noise_events: tuple[NoiseEvent, ...] | None = None
    transmission: tuple[Step, ...] | None = None
    enrolments: tuple[Source, ...] | None = None
    enrolment_s: float | None = None
    num_rows: int | None = None

    @property
    def num_samples(self) -> int:
        """The length of the mixture in samples."""
        return round(self.duration_s * self.sample_rate)

    @property
    def rows(self) -> tuple[tuple[Source, ...], ...]:
        """The sources in each row of the dataset's `sources`: one, or a speaker's utterances."""
        if not self.sources or self.sources[0].row is None:
            return tuple((source,) for source in self.sources)
        by_row = itertools.groupby(self.sources, key=lambda source: source.row)
        return tuple(tuple(sources) for _, sources in by_row)

    @property
    def offsets_s(self) -> tuple[float, ...]:
        """The start of each row in the mixture, in seconds: that of its first utterance."""
        return tuple(
            next((one.offset_s for one in sources if one.stop > one.start), 0.0)
            for sources in self.rows
        )

    @property
    def overlap_ratio(self) -> float:
        """The time in which two or more sources sound over the time in which any does."""
        return overlap_ratio(
            (source.offset_s, stop_s)
            for source in self.sources
            # A mixture may end before its sources do.
            if (stop_s := min(source.offset_s + source.duration_s, self.duration_s))
            > source.offset_s
        )

    @property
    def num_channels(self) -> int:
        """The number of channels of all audio, 1 or 2."""
        return num_channels(self.channels)

    @property
    def audio_shape(self) -> tuple[int, ...]:
        """The shape of the mixture: [samples], or with several channels [samples, channels]."""
        return (self.num_samples,) if self.num_channels == 1 else (self.num_samples, 2)

    @property
    def enrolments_shape(self) -> tuple[int, ...]:
        """The shape of all enrolments: [rows, samples], or [rows, samples, channels]."""
        num_samples = round((self.enrolment_s or 0) * self.sample_rate)
        return (len(self.rows), num_samples, *self.audio_shape[1:])

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that have a file, each recorded room once.

        Sources, noise, noise events, rooms, the given mixture and enrolments, in this order.
        """
        noise = () if self.noise is None else (self.noise,)
        rooms = dict.fromkeys(source.room for source in self.sources)
        return (
            *self.sources,
            *noise,
            *(self.noise_events or ()),
            *(room for room in rooms if isinstance(room, RecordedRoom)),
            *(() if self.mixture is None else (self.mixture,)),
            *(self.enrolments or ()),
        )

    @property
    def has_noise(self) -> bool:
        """True if the mixture has a noise, be it silent for want of events."""
        return self.noise is not None or self.noise_events is not None

    @property
    def has_rooms(self) -> bool:
        """True if any source sounds in a room."""
        return any(source.room is not None for source in self.sources)

    def to_json(self) -> str:
        """Returns a line of JSON, the same bytes for the same recipe."""
        # Not dataclasses.asdict, which takes ten times as long: this runs for each mixture.
        document: dict[str, Any] = {name: getattr(self, name) for name in Recipe.__slots__}
        document["version"] = VERSION
        for name in _OFTEN_MISSING:
            if document[name] is None:
                del document[name]
        if self.transmission is not None:
            document["transmission"] = steps_document(self.transmission)
        for name in document.keys() & {"sources", "enrolments"}:
            document[name] = [_source_document(source) for source in document[name]]
        return _ENCODER.encode(document)


def _source_document(source: Source) -> dict[str, Any]:
    return {
        name: value for name in Source.__slots__ if (value := getattr(source, name)) is not None
    }


def overlap_ratio(intervals_s: Iterable[tuple[float, float]], at_once: int = 2) -> float:
    """Returns the time in which two or more speak over the time in which anyone does.

    As the statistics of SparseLibriMix count it (Cosentino et al., 2020); 0 where nobody speaks.

    Args:
        intervals_s: where each stretch of speech starts and where it stops, in seconds or in any
            other unit of time.
        at_once: how many speak, or more.
    """
    changes = sorted(change for start, stop in intervals_s for change in ((start, 1), (stop, -1)))
    spoken = overlapped = 0.0
    num_active = 0
    for (start, change), (stop, _) in itertools.pairwise(changes):
        num_active += change
        if num_active:
            spoken += stop - start
        if num_active >= at_once:
            overlapped += stop - start
    return overlapped / spoken if spoken else 0.0


def num_channels(channels: Channels) -> int:
    """Returns the number of channels of audio after the treatment that `channels` names."""
    return 2 if channels == "stereo" else 1


def parse_recipe(line: str | bytes, origin: str) -> Recipe:
    """Reads what `Recipe.to_json` writes.

    Args:
        line: one JSON document.
        origin: the name of its file, for the error message.

    Raises:
        InvalidDocumentError: not a recipe, one of another version, or one with a row that no
            speaker could say.
    """
    return _make_recipe(load_document(line, "recipe", origin), origin)


def recipe_from_document(document: Mapping[str, Any], origin: str) -> Recipe:
    """Reads a recipe that has been parsed from JSON already.

    Args:
        document: as `Recipe.to_json` writes it.
        origin: where it comes from, for the error message.

    Raises:
        InvalidDocumentError: as `parse_recipe` does.
    """
    check_document(document, "recipe", origin)
    return _make_recipe(document, origin)


def _make_recipe(document: Mapping[str, Any], origin: str) -> Recipe:
    fields = {name: value for name, value in document.items() if name != "version"}
    fields["sources"] = tuple(_parse_source(source) for source in fields["sources"])
    if fields.get("noise") is not None:
        fields["noise"] = Noise(**_with_level(fields["noise"]))
    if "noise_events" in fields:
        fields["noise_events"] = tuple(
            NoiseEvent(**_with_level(event)) for event in fields["noise_events"]
        )
    if "mixture" in fields:
        fields["mixture"] = GivenMixture(**fields["mixture"])
    if "transmission" in fields:
        fields["transmission"] = parse_steps(fields["transmission"])
    if "enrolments" in fields:
        fields["enrolments"] = tuple(_parse_source(one) for one in fields["enrolments"])
    recipe = Recipe(**fields)
    _check_enrolments(recipe, origin)
    if recipe.has_rooms and recipe.num_channels > 1:
        raise InvalidDocumentError(f"{origin}: rooms are not for stereo")
    if recipe.transmission is not None and recipe.num_channels > 1:
        raise InvalidDocumentError(f"{origin}: transmission is not for stereo")
    _check_rows(recipe, origin)
    return recipe


def _parse_source(document: Mapping[str, Any]) -> Source:
    if "room" in document:
        return Source(**{**document, "room": _parse_room(document["room"])})
    return Source(**document)


def _parse_room(document: Mapping[str, Any]) -> Room:
    if "path" in document:
        return RecordedRoom(**document)
    return SimulatedRoom(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in document.items()
        }
    )


def _with_level(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a noise, whose level is under the name of its kind in JSON."""
    kind = next(kind for kind in get_args(NoiseLevelKind) if kind in document)
    fields = {name: value for name, value in document.items() if name != kind}
    return fields | {"level_kind": kind, "level": document[kind]}


def _check_enrolments(recipe: Recipe, origin: str) -> None:
    if (recipe.enrolments is None) != (recipe.enrolment_s is None):
        raise InvalidDocumentError(f"{origin}: enrolments and enrolment_s go together: give both")
    if recipe.enrolments is None:
        return
    speakers = [sources[0].speaker for sources in recipe.rows]
    if [one.speaker for one in recipe.enrolments] != speakers:
        raise InvalidDocumentError(
            f"{origin}: enrolments are not those of the speakers of the rows"
        )
    used = {(source.corpus, source.utterance) for source in recipe.sources}
    for one in recipe.enrolments:
        if (one.corpus, one.utterance) in used:
            raise InvalidDocumentError(f"{origin}: {one.utterance!r} is in the mixture, too")


def _check_rows(recipe: Recipe, origin: str) -> None:
    rows = recipe.rows
    if len(rows) > MAX_ROWS:
        raise InvalidDocumentError(f"{origin}: {len(rows)} sources where {MAX_ROWS} are the most")
    if recipe.num_rows is not None and recipe.num_rows <= len(rows):
        raise InvalidDocumentError(
            f"{origin}: num_rows {recipe.num_rows}, where {len(rows)} have a source: it is for more"
        )
    numbers = [sources[0].row for sources in rows]
    if any(number is not None for number in numbers) and numbers != [*range(len(rows))]:
        raise InvalidDocumentError(f"{origin}: sources are not in the order of their rows")
    for number, sources in enumerate(rows):
        ones = {(one.speaker, one.level_kind, one.level, one.room) for one in sources}
        if len(ones) > 1:
            raise InvalidDocumentError(
                f"{origin}: row {number} has two speakers, or two levels or rooms"
            )
        heard = [source for source in sources if source.stop > source.start]
        for earlier, later in itertools.pairwise(heard):
            end_s = earlier.offset_s + earlier.duration_s
            # Frames of a file and samples of a mixture need not coincide.
            step_s = 1 / recipe.sample_rate + 1 / earlier.file_sample_rate
            if later.offset_s < end_s - step_s:
                raise InvalidDocumentError(
                    f"{origin}: row {number} has {later.utterance!r} begin before the one before it"
                    " has ended"
                )
