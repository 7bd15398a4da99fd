"""The plan of a dataset whose recipes are drawn from a catalogue, a configuration and a seed.

Nothing here depends on the runner, the number of workers or the order of arrival. A shard is
planned without the others, so that a plan of a million mixtures costs a worker no more than its
own shard.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.recipes.conversation import Runs, divide_into_runs, gamma_shape
from beam_jobs.recipes.drawing import draw_recipe
from beam_jobs.recipes.enrolment import Enrolments, has_another
from beam_jobs.recipes.gender_share import GenderShare
from beam_jobs.recipes.group_sizes import GroupSizes, Indices
from beam_jobs.recipes.pairing import uses_per_round
from beam_jobs.recipes.plan import (
    MIXTURE_S,
    Draft,
    NothingToDoError,
    NoUtteranceLeftError,
    PlanOptions,
    choose_num_shards,
)
from beam_jobs.recipes.random_numbers import keyed_generator
from beam_jobs.recipes.scene import NO_FILES, SceneFiles, SceneFilesPlan, share_rooms
from beam_jobs.recipes.splits import apportion, split_by_corpus, split_by_shares
from beam_jobs.recipes.tables import Tables
from schemas.dataset import SPLITS, Shard, Split
from schemas.recipe import Utterance
from schemas.recipe_config import RecipeConfig, SimulatedRooms

# Looked up in the catalogue together, these cost little each, and they take little memory.
_DRAFTS_AT_ONCE = 512


@dataclasses.dataclass(frozen=True, slots=True)
class _SplitPlan:
    """The plan of one split.

    Attributes:
        entries: int32 [utterances], where the catalogue has the utterances of the split.
        tables: of the utterances; of the runs, if there are any.
        runs: of utterances, for conversations.
        num_mixtures: in the split.
        num_shards: of the split.
        enrolments: of the speakers of the split, or None.
    """

    entries: Indices
    tables: Tables
    runs: Runs | None
    num_mixtures: int
    num_shards: int
    enrolments: Enrolments | None


def plan_version(config: RecipeConfig) -> int:
    """Returns the version of the plan of a configuration.

    It changes whenever the same catalogue, configuration and seed give other recipes than before.
    """
    if config.has_silent_rows:
        return 4
    return 3 if isinstance(config.rooms, SimulatedRooms) else 2


class DrawnPlan:
    """A plan that draws each recipe by the seed and the number of the mixture.

    Attributes:
        speaker_splits: the split of each speaker.
        num_not_enrolled: the speakers who are left out because they have no other utterance for an
            enrolment.
    """

    def __init__(self, catalogue: Catalogue, options: PlanOptions) -> None:
        """Divides the speakers, and decides how many mixtures and shards each split has.

        Raises:
            NothingToDoError: there is no usable utterance, no split has enough speakers for a
                mixture, or no gender is known and the configuration needs it.
        """
        self._catalogue = catalogue
        self._options = options
        self._sizes = GroupSizes(options.config.speaker_numbers)
        most_speakers = self._sizes.largest
        self._scenes = SceneFilesPlan(
            catalogue,
            options.sounds,
            noise=options.config.noise,
            shares=options.shares,
            seed=options.seed,
        )
        self._speech = catalogue.entries_outside(options.sounds.values())
        self.num_not_enrolled = 0
        if options.config.enrolment_s is not None:
            # Before they are divided, so that each split gets its share of the others.
            self._speech = self._speech[self._can_be_enrolled(self._speech)]
        self.speaker_splits = self._divide_speakers()
        entries = self._entries_by_split()
        runs = {
            split: self._divide_into_runs(split, of_split) for split, of_split in entries.items()
        }
        # Of conversations, a run is what other mixtures have an utterance for.
        units = {
            split: of_split if (own := runs[split]) is None else of_split[own.firsts]
            for split, of_split in entries.items()
        }
        if options.config.enrolment_s is not None:
            for split, of_split in units.items():
                chosen = self._can_be_enrolled(of_split)
                units[split] = of_split[chosen]
                if (own := runs[split]) is None:
                    entries[split] = units[split]
                else:
                    runs[split] = own.select(chosen)
        entries = {
            split: of_split
            for split, of_split in entries.items()
            if len(np.unique(catalogue.speakers[units[split]])) >= most_speakers
        }
        if not entries:
            left_out = f", and {self.num_not_enrolled} who can't be enrolled are left out"
            raise NothingToDoError(
                f"no split has the {most_speakers} speakers of a mixture, all together have"
                f" {len(self.speaker_splits)}{left_out if self.num_not_enrolled else ''}: add"
                " speakers to the corpus, change --splits, or lower num_speakers in the recipe"
            )
        counts: Mapping[Split, int]
        if options.num_mixtures:
            weights = options.shares or {split: len(entries[split]) for split in entries}
            placed = {split: weights[split] if split in entries else 0.0 for split in SPLITS}
            counts = apportion(options.num_mixtures, placed)
        else:
            counts = {
                split: self._sizes.num_groups(
                    uses_per_round(catalogue.speakers[units[split]], most_speakers)
                )
                for split in entries
            }
        self._splits: dict[str, _SplitPlan] = {
            split: self._plan_split(split, entries[split], units[split], runs[split], counts[split])
            for split in entries
            if counts[split]
        }
        if missing := self._scenes.missing(self._splits):
            raise NothingToDoError(missing)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of all splits."""
        return tuple(
            Shard(split, index, plan.num_shards)
            for split, plan in self._splits.items()
            for index in range(plan.num_shards)
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of mixtures of each split that has any."""
        return {split: plan.num_mixtures for split, plan in self._splits.items()}

    def left_out(self) -> Mapping[str, int]:
        """Returns the number of speakers of each split that should have mixtures but has none."""
        counts = {split: 0 for split in SPLITS if self._options.shares.get(split)}
        for split in self.speaker_splits.values():
            counts[split] = counts.get(split, 0) + 1
        return {split: count for split, count in counts.items() if split not in self._splits}

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard, in order."""
        plan = self._splits[shard.split]
        start, stop = plan.tables.shard_range(shard.index)
        in_order = plan.tables.groups(shard.index)
        for first in range(start, stop, _DRAFTS_AT_ONCE):
            groups = list(itertools.islice(in_order, _DRAFTS_AT_ONCE))
            numbers = list(map(len, groups))
            if runs := plan.runs:
                groups = [np.concatenate([runs[run] for run in group]) for group in groups]
            entries = plan.entries[np.concatenate(groups)]
            utterances = iter(self._catalogue.utterances(entries))
            remaining = iter(entries.tolist())
            drawn = [list(itertools.islice(remaining, len(group))) for group in groups]
            ids = [f"{shard.split}-{first + index:09d}" for index in range(len(groups))]
            scenes = self._scenes.draw(ids, numbers, shard.split)
            enrolled = [
                self._draw_enrolled(mixture_id, shard.split, own)
                for mixture_id, own in zip(ids, drawn, strict=True)
            ]
            others = iter(self._find_utterances(itertools.chain.from_iterable(enrolled)))
            rooms = share_rooms(ids, plan.tables.max_uses)
            for mixture_id, own, scene, room, other in zip(
                ids, drawn, scenes, rooms, enrolled, strict=True
            ):
                yield self._draft(
                    mixture_id,
                    shard.split,
                    own,
                    list(itertools.islice(utterances, len(own))),
                    scene or NO_FILES,
                    room,
                    other,
                    list(itertools.islice(others, len(other))),
                )

    def redraft(self, draft: Draft, unusable: Collection[int]) -> Draft:
        """Returns a mixture with other files in place of those that turned out unusable.

        A speaker in a conversation who has other utterances there goes without a replacement. Any
        other replacement depends on the seed, the mixture and the set of unusable files, and its
        speaker is not in the mixture yet.

        Args:
            draft: as planned.
            unusable: entries of the catalogue.

        Raises:
            NoUtteranceLeftError: the split has no other utterance, noise or room response.
        """
        speakers = self._catalogue.speakers
        planned = draft.recipe
        generator = keyed_generator(self._options.seed, planned.id, "spares")
        order = generator.permutation(self._splits[planned.split].entries)
        spares = iter(order.tolist())
        heard = draft.entries[: len(planned.sources)]
        unfit = {
            entry
            for entry in heard
            if entry in unusable or not self._has_other(planned.split, entry, heard, unusable)
        }
        entries = self._leave_out(heard, unfit)
        for index, entry in enumerate(entries):
            if entry not in unfit:
                continue
            others = {speakers[other] for other in entries[:index] + entries[index + 1 :]}
            candidates: Iterator[int] = spares
            if self._options.config.same_gender_share is not None:
                own = self._catalogue.genders(np.array([entry], np.int32))
                alike = order[self._catalogue.genders(order) == own]
                candidates = itertools.chain(alike.tolist(), spares)
            fitting = (
                spare
                for spare in candidates
                if spare not in unusable
                and speakers[spare] not in others
                and self._has_other(planned.split, spare, [spare], unusable)
            )
            spare = next(fitting, None)
            if spare is None:
                raise NoUtteranceLeftError(planned.id)
            entries[index] = spare
        numbers = [len(planned.rows)]
        (scene,) = self._scenes.draw([planned.id], numbers, planned.split, unusable)
        if scene is None:
            raise NoUtteranceLeftError(planned.id)
        enrolled = self._draw_enrolled(planned.id, planned.split, entries, unusable)
        utterances = self._find_utterances(entries)
        enrolments = self._find_utterances(enrolled)
        return self._draft(
            planned.id,
            planned.split,
            entries,
            utterances,
            scene,
            draft.shared_room,
            enrolled,
            enrolments,
        )

    def _draft(
        self,
        mixture_id: str,
        split: str,
        entries: Sequence[int],
        utterances: Sequence[Utterance],
        scene: SceneFiles,
        shared_room: str,
        enrolled: Sequence[int],
        enrolments: Sequence[Utterance],
    ) -> Draft:
        recipe = draw_recipe(
            self._options.config,
            seed=self._options.seed,
            mixture_id=mixture_id,
            split=split,
            utterances=utterances,
            scene=scene,
            shared_room=shared_room,
            enrolments=enrolments,
        )
        # Speakers may say their utterances in another order.
        entry_of = {one.id: entry for one, entry in zip(utterances, entries, strict=True)}
        in_order = (entry_of[source.utterance] for source in recipe.sources)
        return Draft(recipe, (*in_order, *scene.entries, *enrolled), shared_room)

    def _find_utterances(self, entries: Iterable[int]) -> list[Utterance]:
        return self._catalogue.utterances(np.fromiter(entries, np.int32))

    def _can_be_enrolled(self, units: Indices) -> npt.NDArray[np.bool_]:
        """Returns whether speakers have another one of some utterances or runs, [units]."""
        speakers = self._catalogue.speakers[units]
        chosen = has_another(speakers)
        self.num_not_enrolled += len(np.unique(speakers[~chosen]))
        return chosen

    def _draw_enrolled(
        self, mixture_id: str, split: str, entries: Sequence[int], unusable: Collection[int] = ()
    ) -> list[int]:
        """Draws the entry of an enrolment of each speaker in a mixture, if there are any.

        Raises:
            NoUtteranceLeftError: a speaker has no other utterance that can be used.
        """
        enrolments = self._splits[split].enrolments
        if enrolments is None:
            return []
        speakers = dict.fromkeys(self._catalogue.speakers[list(entries)].tolist())
        drawn = []
        for row, speaker in enumerate(speakers):
            entry = enrolments.draw(mixture_id, row, speaker, entries, unusable)
            if entry is None:
                raise NoUtteranceLeftError(mixture_id)
            drawn.append(entry)
        return drawn

    def _has_other(
        self, split: str, entry: int, heard: Collection[int], unusable: Collection[int]
    ) -> bool:
        """Returns whether the speaker of an utterance can be enrolled, if that is asked for."""
        enrolments = self._splits[split].enrolments
        speaker = int(self._catalogue.speakers[entry])
        return enrolments is None or enrolments.has_other(speaker, heard, unusable)

    def _leave_out(self, entries: Sequence[int], unusable: Collection[int]) -> list[int]:
        """Returns the utterances of a mixture without the unusable ones of speakers with others."""
        kept: list[int] = []
        speakers = self._catalogue.speakers
        for _, of_speaker in itertools.groupby(entries, key=lambda entry: speakers[entry]):
            own = list(of_speaker)
            kept += [entry for entry in own if entry not in unusable] or own[:1]
        return kept

    @property
    def _mixture_s(self) -> float:
        """The usual length of a mixture, in seconds."""
        conversation = self._options.config.conversation
        return conversation.speech_s if conversation else MIXTURE_S

    def _divide_speakers(self) -> Mapping[str, Split]:
        catalogue, shares = self._catalogue, self._options.shares
        uses = np.bincount(catalogue.speakers[self._speech])
        names = [catalogue.speaker_names[speaker] for speaker in np.flatnonzero(uses)]
        if not names and self.num_not_enrolled:
            raise NothingToDoError(
                "enrolment_s and this corpus do not go together: no speaker has another utterance"
            )
        if not names:
            raise NothingToDoError(
                "no usable utterance in the corpus: give --corpus a folder with audio, and see"
                " rejected.jsonl for what can't be used"
            )
        if shares:
            return split_by_shares(names, shares, min_speakers=self._sizes.largest)
        own_splits = catalogue.speaker_splits()
        return split_by_corpus({name: own_splits[name] for name in names})

    def _plan_split(
        self, split: Split, entries: Indices, units: Indices, runs: Runs | None, num_mixtures: int
    ) -> _SplitPlan:
        options = self._options
        num_shards = choose_num_shards(num_mixtures, options.num_shards, self._mixture_s)
        tables = Tables(
            self._catalogue.speakers[units],
            sizes=self._sizes,
            key=(options.seed, split),
            num_mixtures=num_mixtures,
            num_shards=num_shards,
            max_uses=options.config.max_uses_per_shard,
            genders=self._gender_share(units),
        )
        enrolments = None
        if options.config.enrolment_s is not None:
            enrolments = Enrolments(self._catalogue.speakers, entries, options.seed)
        return _SplitPlan(entries, tables, runs, num_mixtures, num_shards, enrolments)

    def _divide_into_runs(self, split: Split, entries: Indices) -> Runs | None:
        config = self._options.config
        if config.conversation is None or not len(entries):
            return None
        return divide_into_runs(
            self._catalogue.speakers[entries],
            self._catalogue.durations_s(entries),
            config.conversation.speech_s / self._sizes.mean,
            shape=gamma_shape(config.conversation.dominance, self._sizes.mean),
            generator=keyed_generator(self._options.seed, split, "runs"),
        )

    def _gender_share(self, entries: Indices) -> GenderShare | None:
        share = self._options.config.same_gender_share
        if share is None:
            return None
        return GenderShare(self._catalogue.genders(entries) == "f", share)

    def _entries_by_split(self) -> dict[Split, Indices]:
        names = self._catalogue.speaker_names
        codes = np.array(
            [
                SPLITS.index(self.speaker_splits[name]) if name in self.speaker_splits else -1
                for name in names
            ]
        )
        entry_codes = np.full(len(self._catalogue), -1)
        entry_codes[self._speech] = codes[self._catalogue.speakers[self._speech]]
        entries = {
            split: np.flatnonzero(entry_codes == code).astype(np.int32)
            for code, split in enumerate(SPLITS)
        }
        if not self._options.shares:
            # An utterance that the corpus has in another split than its speaker is in none.
            for split in SPLITS:
                entries[split] = entries[split][self._catalogue.in_split(entries[split], split)]
        if self._options.config.same_gender_share is not None:
            known = {split: self._catalogue.genders(entries[split]) != "" for split in SPLITS}
            if not any(of_split.any() for of_split in known.values()):
                raise NothingToDoError(
                    "same_gender_share and this corpus do not go together: it says no speaker's"
                    " gender"
                )
            entries = {split: entries[split][known[split]] for split in SPLITS}
        if limit := self._options.config.max_utterances_per_speaker:
            entries = {split: self._limit_each_speaker(entries[split], limit) for split in SPLITS}
        return entries

    def _limit_each_speaker(self, entries: Indices, limit: int) -> Indices:
        """Returns the first utterances of each speaker: the catalogue's order is random already."""
        speakers = self._catalogue.speakers[entries]
        by_speaker = np.argsort(speakers, kind="stable")
        _, starts, counts = np.unique(speakers[by_speaker], return_index=True, return_counts=True)
        places = np.arange(len(entries)) - np.repeat(starts, counts)
        kept: Indices = entries[np.sort(by_speaker[places < limit])]
        return kept
