"""Draws the scene of a mixture: its noise, its room, and the speed of its speech.

A scene has random numbers of its own, so that the same seed gives the same speakers at the same
offsets and levels, with a scene and without.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.corpora.headers import MIN_DURATION_S
from beam_jobs.recipes.group_sizes import Indices
from beam_jobs.recipes.random_numbers import draw, draw_whole, keyed_uniforms
from beam_jobs.recipes.splits import split_by_shares
from schemas.dataset import SPLITS, Split
from schemas.recipe import (
    Noise,
    NoiseEvent,
    Recipe,
    RecordedRoom,
    Room,
    SimulatedRoom,
    Utterance,
)
from schemas.recipe_config import (
    BackgroundNoise,
    NoiseConfig,
    NoiseEvents,
    RecipeConfig,
    SimulatedRooms,
    Uniform,
)

# For a folder of noise or of responses, when the speech keeps the splits of its corpus.
_SHARES: Mapping[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}

# People and microphones are at least this far from the walls of a simulated room.
WALL_M = 0.3

# The heights of people who stand or sit, and of microphones on tables and walls.
_LOWEST_M, _HIGHEST_M = 1.0, 2.0
_NUM_DIRECTIONS = 64

# In a shared room, so that speakers of different mixtures are at different places, too.
_PLACES_PER_SPEAKER = 2
# Mixtures in a row take turns in so many shared rooms at most.
_ROOMS_IN_TURN = 8
_ROUNDING_M = 0.001


@dataclasses.dataclass(frozen=True, slots=True)
class SceneFiles:
    """The files that a mixture needs besides its utterances.

    Attributes:
        entries: where the catalogue has the noise, if there is one, then the events, and then the
            room responses.
        noise: the noise under the whole mixture, or None.
        events: one for each noise event.
        responses: one for each speaker, or none.
    """

    entries: tuple[int, ...] = ()
    noise: Utterance | None = None
    events: tuple[Utterance, ...] = ()
    responses: tuple[Utterance, ...] = ()


NO_FILES = SceneFiles()


class SceneFilesPlan:
    """The assignment of noise and of room responses to mixtures.

    A file belongs to one split only: the splits share the files as they share the speakers. The
    responses in one folder are of one room, and a mixture is in one room.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        sounds: Mapping[str, str],
        *,
        noise: NoiseConfig | None,
        shares: Mapping[Split, float],
        seed: int,
    ) -> None:
        """Divides the files among the splits.

        Args:
            catalogue: of speech, noise and room responses.
            sounds: the names of the corpora of `noise` and of `rooms`, if there are any.
            noise: of each mixture, or None.
            shares: of the speakers in each split; empty for the corpus's own splits.
            seed: of the job.
        """
        self._catalogue = catalogue
        self._seed = seed
        shares = shares or _SHARES
        divided = {
            option: _divide(catalogue, catalogue.entries_of(corpus), shares)
            for option, corpus in sounds.items()
        }
        noise = noise or NoiseConfig()
        self._backgrounds, self._event_sounds = (
            None if kind is None else _in_folders(catalogue, divided["noise"], kind.folders)
            for kind in (noise.background, noise.events)
        )
        self._noise = noise
        self._responses = divided.get("rooms")
        self._rooms = _group_by_folder(catalogue, self._responses or {})

    def missing(self, splits: Iterable[str]) -> str:
        """Returns a complaint about a split that gets no noise or no room, or an empty text."""
        background, events = self._noise.background, self._noise.events
        for option, files, folders in (
            ("noise", self._backgrounds, background.folders if background else ()),
            ("noise", self._event_sounds, events.folders if events else ()),
            ("rooms", self._responses, ()),
        ):
            if files is None:
                continue
            num_files = sum(map(len, files.values()))
            where = f" in {' and '.join(folders)}" if folders else ""
            for split in splits:
                if not len(files[split]):
                    return (
                        f"--{option} has {num_files} usable files{where}, and none is left for the"
                        f" split {split}: see rejected.jsonl for what can't be used, or add files"
                    )
        return ""

    def draw(
        self,
        mixture_ids: Sequence[str],
        num_speakers: Sequence[int],
        split: str,
        unusable: Collection[int] = (),
    ) -> list[SceneFiles | None]:
        """Draws the files of some mixtures.

        Args:
            mixture_ids: of the mixtures.
            num_speakers: in each of them.
            split: of all of them.
            unusable: entries of the catalogue.

        Returns:
            The files of each mixture; None if no usable noise or response is left for it.
        """
        if self._backgrounds is self._event_sounds is self._responses is None:
            return [NO_FILES] * len(mixture_ids)
        drawn = [
            self._draw_entries(mixture_id, number, split, unusable)
            for mixture_id, number in zip(mixture_ids, num_speakers, strict=True)
        ]
        entries = [entry for one in drawn if one is not None for kind in one for entry in kind]
        files = iter(self._catalogue.utterances(np.array(entries, np.int32)))
        scenes: list[SceneFiles | None] = []
        for one in drawn:
            if one is None:
                scenes.append(None)
                continue
            backgrounds, events, responses = (tuple(next(files) for _ in kind) for kind in one)
            noise = backgrounds[0] if backgrounds else None
            scenes.append(SceneFiles(tuple(itertools.chain(*one)), noise, events, responses))
        return scenes

    def _draw_entries(
        self, mixture_id: str, num_speakers: int, split: str, unusable: Collection[int]
    ) -> tuple[list[int], list[int], list[int]] | None:
        """Draws the background, the events and the room responses of a mixture."""
        background: list[int] = []
        if self._backgrounds is not None:
            uniforms = keyed_uniforms(self._seed, mixture_id, "noise")
            background = _draw_distinct(self._backgrounds[split], 1, unusable, uniforms)
            if not background:
                return None
        events: list[int] = []
        if self._event_sounds is not None and self._noise.events is not None:
            uniforms = keyed_uniforms(self._seed, mixture_id, "noise events")
            number = draw_whole(self._noise.events.number, uniforms)
            events = _draw_distinct(self._event_sounds[split], number, unusable, uniforms)
            if len(events) < number:
                return None
        in_room: list[int] = []
        if self._responses is not None:
            uniforms = keyed_uniforms(self._seed, mixture_id, "room")
            responses = self._responses[split]
            if not _count_usable(responses, unusable):
                return None
            while not in_room:
                room = self._rooms[int(responses[int(next(uniforms) * len(responses))])]
                in_room = _draw_distinct(room, num_speakers, unusable, uniforms)
        return background, events, in_room


def _divide(
    catalogue: Catalogue, entries: Indices, shares: Mapping[Split, float]
) -> dict[str, Indices]:
    """Returns the files of each split."""
    names = catalogue.paths(entries)
    splits = split_by_shares(names, shares, min_speakers=1)
    return {
        split: entries[np.array([splits[name] == split for name in names], bool)]
        for split in SPLITS
    }


def _in_folders(
    catalogue: Catalogue, entries_by_split: Mapping[str, Indices], folders: Sequence[str]
) -> Mapping[str, Indices]:
    """Returns the files of each split that are in one of some folders; all without any."""
    if not folders:
        return entries_by_split
    prefixes = tuple(f"{folder}/" for folder in folders)
    return {
        split: entries[[path.startswith(prefixes) for path in catalogue.paths(entries)]]
        for split, entries in entries_by_split.items()
    }


def _group_by_folder(
    catalogue: Catalogue, entries_by_split: Mapping[str, Indices]
) -> dict[int, Indices]:
    """Returns, by file, all files of the same split and folder."""
    rooms: dict[int, Indices] = {}
    for entries in entries_by_split.values():
        folders: dict[str, list[int]] = {}
        for entry, path in zip(entries.tolist(), catalogue.paths(entries), strict=True):
            folders.setdefault(path.rpartition("/")[0], []).append(entry)
        for members in folders.values():
            rooms |= dict.fromkeys(members, np.array(members, np.int32))
    return rooms


def _draw_distinct(
    entries: Indices, count: int, unusable: Collection[int], uniforms: Iterator[float]
) -> list[int]:
    """Draws usable files, each once if there are enough; none if none is usable.

    To know that another file is unusable changes nothing, unless that file would be drawn.
    """
    num_usable = _count_usable(entries, unusable)
    drawn: list[int] = []
    while num_usable and len(drawn) < count:
        entry = int(entries[int(next(uniforms) * len(entries))])
        if entry not in unusable and (entry not in drawn or len(set(drawn)) == num_usable):
            drawn.append(entry)
    return drawn


def _count_usable(entries: Indices, unusable: Collection[int]) -> int:
    return sum(entry not in unusable for entry in entries.tolist()) if unusable else len(entries)


def share_rooms(mixture_ids: Sequence[str], max_uses: int) -> list[str]:
    """Names the simulated room of each of some mixtures that follow each other.

    What takes time is the response of each place in a room, and a further place takes as long as
    one in another room. So each place is used about as often as an utterance.

    Args:
        mixture_ids: of the mixtures.
        max_uses: how often the mixtures use an utterance at most.

    Returns:
        The id of the first mixture that is in the room; empty names if utterances are used once,
        where mixtures have rooms of their own.
    """
    if max_uses == 1:
        return [""] * len(mixture_ids)
    mixtures_per_room = _PLACES_PER_SPEAKER * max_uses
    num_runs = math.ceil(len(mixture_ids) / (mixtures_per_room * _ROOMS_IN_TURN))
    names: list[str] = []
    for ids in np.array_split(mixture_ids, num_runs):
        num_rooms = math.ceil(len(ids) / mixtures_per_room)
        names += ids[np.arange(len(ids)) % num_rooms].tolist()
    return names


def draw_speeds(
    utterances: Sequence[Utterance], config: RecipeConfig, seed: int, mixture_id: str
) -> Sequence[Utterance]:
    """Returns the utterances, each at a speed drawn for it."""
    if config.speed is None:
        return utterances
    uniforms = keyed_uniforms(seed, mixture_id, "speed")
    return [
        dataclasses.replace(utterance, speed=round(draw(config.speed, uniforms), 4))
        for utterance in utterances
    ]


def draw_scene(
    recipe: Recipe, files: SceneFiles, config: RecipeConfig, seed: int, shared_room: str = ""
) -> Recipe:
    """Returns a recipe with the room and the noise that the configuration asks for.

    Args:
        recipe: of the mixture, dry and without noise.
        files: of its noise and of its room.
        config: what to draw from.
        seed: of the job.
        shared_room: the name of the simulated room that it shares with others; empty for its own.
    """
    if config.rooms is not None:
        speakers = list(dict.fromkeys(source.speaker for source in recipe.sources))
        rooms: Sequence[Room]
        if isinstance(config.rooms, SimulatedRooms):
            num_places = _PLACES_PER_SPEAKER * config.most_speakers
            rooms = _draw_places(
                config.rooms, num_places, len(speakers), seed, recipe.id, shared_room
            )
        else:
            rooms = [
                RecordedRoom(file.corpus, file.path, file.stop, file.sample_rate)
                for file in files.responses
            ]
        room_of = dict(zip(speakers, rooms, strict=True))
        sources = (
            dataclasses.replace(source, room=room_of[source.speaker]) for source in recipe.sources
        )
        recipe = dataclasses.replace(recipe, sources=tuple(sources))
    noise = config.noise or NoiseConfig()
    if noise.background is not None and files.noise is not None:
        uniforms = keyed_uniforms(seed, recipe.id, "noise level")
        background = _draw_background(files.noise, noise.background, recipe.duration_s, uniforms)
        recipe = dataclasses.replace(recipe, noise=background)
    if noise.events is not None:
        events = tuple(
            _draw_event(
                file, noise.events, recipe, keyed_uniforms(seed, recipe.id, "noise event", number)
            )
            for number, file in enumerate(files.events)
        )
        recipe = dataclasses.replace(recipe, noise_events=events)
    return recipe


def _draw_places(
    config: SimulatedRooms,
    num_shared: int,
    num_speakers: int,
    seed: int,
    mixture_id: str,
    shared_room: str,
) -> list[SimulatedRoom]:
    """Draws a room with a place for each speaker, or places in a room that mixtures share.

    Args:
        config: what to draw from.
        num_shared: the number of places in a shared room.
        num_speakers: in the mixture.
        seed: of the job.
        mixture_id: of the mixture.
        shared_room: as for `draw_scene`.
    """
    if not shared_room:
        uniforms = keyed_uniforms(seed, mixture_id, "simulated room")
        return draw_simulated_rooms(config, num_speakers, uniforms)
    uniforms = keyed_uniforms(seed, shared_room, "shared room")
    places = draw_simulated_rooms(config, num_shared, uniforms)
    uniforms = keyed_uniforms(seed, mixture_id, "places")
    return [places.pop(int(next(uniforms) * len(places))) for _ in range(num_speakers)]


def _draw_background(
    file: Utterance, config: BackgroundNoise, duration_s: float, uniforms: Iterator[float]
) -> Noise:
    """Draws a stretch as long as the mixture from a noise; all of a noise that is shorter."""
    num_frames = math.ceil(duration_s * file.sample_rate)
    level = round(draw(config.level, uniforms), 4)
    spare = max(file.stop - num_frames, 0)
    start = int(next(uniforms) * (spare + 1))
    return Noise(
        corpus=file.corpus,
        path=file.path,
        start=start,
        stop=min(start + num_frames, file.stop),
        num_frames=num_frames,
        file_sample_rate=file.sample_rate,
        level_kind=config.level_kind,
        level=level,
    )


def _draw_event(
    file: Utterance, config: NoiseEvents, recipe: Recipe, uniforms: Iterator[float]
) -> NoiseEvent:
    """Draws a part of a noise, and a place for it where the mixture has all of it."""
    level = round(draw(config.level, uniforms), 4)
    num_frames = min(file.stop, math.ceil(recipe.duration_s * file.sample_rate))
    if config.length_s is not None:
        length_s = max(draw(config.length_s, uniforms), MIN_DURATION_S)
        num_frames = min(num_frames, round(length_s * file.sample_rate))
    start = int(next(uniforms) * (file.stop - num_frames + 1))
    latest_s = max(recipe.duration_s - num_frames / file.sample_rate, 0.0)
    offset_s = min(draw(config.start_s or Uniform(0.0, latest_s), uniforms), latest_s)
    return NoiseEvent(
        corpus=file.corpus,
        path=file.path,
        start=start,
        stop=start + num_frames,
        file_sample_rate=file.sample_rate,
        # Whole samples, so that rendering need not round.
        offset_s=math.floor(offset_s * recipe.sample_rate) / recipe.sample_rate,
        level_kind=config.level_kind,
        level=level,
    )


def draw_simulated_rooms(
    config: SimulatedRooms, num_speakers: int, uniforms: Iterator[float]
) -> list[SimulatedRoom]:
    """Draws a room with a microphone and a place for each speaker.

    Microphone and speakers are at one height, and not too close to a wall.

    Args:
        config: what to draw from; must have passed `rooms.check_simulation`.
        num_speakers: in the room.
        uniforms: random numbers from 0 to 1.

    Returns:
        The same room for each speaker, with that speaker's place.
    """
    length_m, width_m, height_m = (
        round(draw(side, uniforms), 3)
        for side in (config.length_m, config.width_m, config.height_m)
    )
    rt60_s = round(draw(config.rt60_s, uniforms), 4)
    x_m, y_m = (WALL_M + (side_m - 2 * WALL_M) * next(uniforms) for side_m in (length_m, width_m))
    highest_m = min(_HIGHEST_M, height_m - WALL_M)
    z_m = _LOWEST_M + (highest_m - _LOWEST_M) * next(uniforms)

    def at_height(x_m: float, y_m: float) -> tuple[float, float, float]:
        return round(x_m, 4), round(y_m, 4), round(z_m, 4)

    def is_inside(x_m: float, y_m: float) -> bool:
        margin_m = WALL_M - _ROUNDING_M
        return margin_m <= x_m <= length_m - margin_m and margin_m <= y_m <= width_m - margin_m

    # If no direction drawn leads to a place inside, the one towards the farthest corner does.
    corner_x_m, corner_y_m = (
        side_m - WALL_M if at_m < side_m / 2 else WALL_M
        for at_m, side_m in ((x_m, length_m), (y_m, width_m))
    )
    to_corner = math.atan2(corner_y_m - y_m, corner_x_m - x_m)

    rooms = []
    for _ in range(num_speakers):
        distance_m = draw(config.distance_m, uniforms)
        angles = itertools.chain(
            (2 * math.pi * next(uniforms) for _ in range(_NUM_DIRECTIONS)), [to_corner]
        )
        places = (
            (x_m + distance_m * math.cos(angle), y_m + distance_m * math.sin(angle))
            for angle in angles
        )
        speaker = next(one for one in places if is_inside(*one))
        rooms.append(
            SimulatedRoom(
                (length_m, width_m, height_m), rt60_s, at_height(x_m, y_m), at_height(*speaker)
            )
        )
    return rooms
