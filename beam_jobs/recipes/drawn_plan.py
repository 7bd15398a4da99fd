"""Plans: from the catalogue, the configuration and a seed to the recipes of every shard.

Nothing here depends on the runner, the number of workers or the order of arrival, and a shard's
recipes need no other shard's: the plan of a million mixtures is the plan of the shard at hand.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.recipes.conversation import Runs, divide_into_runs
from beam_jobs.recipes.drawing import draw_recipe
from beam_jobs.recipes.gender_share import GenderShare
from beam_jobs.recipes.pairing import Indices, Pairing
from beam_jobs.recipes.plan import (
    _MIXTURE_S,
    Draft,
    NothingToDoError,
    NoUtteranceLeftError,
    PlanOptions,
    choose_num_shards,
    shard_range,
)
from beam_jobs.recipes.random_numbers import keyed_generator
from beam_jobs.recipes.scene import NO_FILES, SceneFilesPlan
from beam_jobs.recipes.splits import apportion, split_by_corpus, split_by_shares
from schemas.dataset import SPLITS, Shard, Split
from schemas.recipe import Recipe

# Enough that looking them up in the catalogue costs little each, few enough to be no memory.
_DRAFTS_AT_ONCE = 512


@dataclasses.dataclass(frozen=True, slots=True)
class _SplitPlan:
    """One split: rows of the catalogue, who meets whom, and how often.

    Those who meet are utterances, or where there are runs of utterances, runs.
    """

    rows: Indices
    pairing: Pairing
    runs: Runs | None
    num_mixtures: int
    num_shards: int


class DrawnPlan:
    """The recipes of a dataset, shard by shard.

    Attributes:
        speaker_splits: the split of each speaker.
    """

    def __init__(self, catalogue: Catalogue, options: PlanOptions) -> None:
        """Divides the speakers, and says how many mixtures and shards each split has.

        Raises:
            NothingToDoError: no usable utterance, in no split speakers enough for a mixture, or no
                gender known where genders matter.
        """
        self._catalogue = catalogue
        self._options = options
        group_size = options.config.num_speakers
        self._scenes = SceneFilesPlan(
            catalogue,
            options.sounds,
            num_speakers=group_size,
            shares=options.shares,
            seed=options.seed,
        )
        self._speech = catalogue.rows_outside(options.sounds.values())
        uses = np.bincount(catalogue.speakers[self._speech])
        speaker_names = [catalogue.speaker_names[speaker] for speaker in np.flatnonzero(uses)]
        if not speaker_names:
            raise NothingToDoError(
                "no usable utterance in the corpus: give --corpus a folder with audio, and see"
                " rejected.jsonl for what can't be used"
            )
        if options.shares:
            self.speaker_splits = split_by_shares(
                speaker_names, options.shares, min_speakers=group_size
            )
        else:
            own_splits = catalogue.speaker_splits()
            self.speaker_splits = split_by_corpus(
                {name: own_splits[name] for name in speaker_names}
            )
        rows = self._rows_by_split()
        pairings: dict[Split, Pairing] = {}
        runs: dict[Split, Runs | None] = {}
        for split in SPLITS:
            speakers = catalogue.speakers[rows[split]]
            if len(np.unique(speakers)) >= group_size:
                units = rows[split]
                runs[split] = self._divide_into_runs(units)
                if own_runs := runs[split]:
                    units = units[own_runs.firsts]
                pairings[split] = Pairing(
                    catalogue.speakers[units],
                    group_size=group_size,
                    key=(options.seed, split),
                    genders=self._gender_share(units),
                )
        if not pairings:
            raise NothingToDoError(
                f"no split has the {group_size} speakers of a mixture, all together have"
                f" {len(speaker_names)}: add speakers to the corpus, change --splits, or"
                " lower num_speakers in the recipe"
            )
        counts: Mapping[Split, int] = {
            split: pairing.groups_per_round for split, pairing in pairings.items()
        }
        if options.num_mixtures:
            weights = options.shares or {split: float(len(rows[split])) for split in SPLITS}
            placed = {split: weights[split] if split in pairings else 0.0 for split in SPLITS}
            counts = apportion(options.num_mixtures, placed)
        self._splits = {
            split: _SplitPlan(
                rows[split],
                pairings[split],
                runs[split],
                counts[split],
                choose_num_shards(counts[split], options.num_shards, self._mixture_s),
            )
            for split in pairings
            if counts[split]
        }
        if missing := self._scenes.missing(tuple(self._splits)):
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
    def counts(self) -> dict[Split, int]:
        """The number of mixtures of each split that has any."""
        return {split: plan.num_mixtures for split, plan in self._splits.items()}

    def left_out(self) -> dict[Split, int]:
        """The splits that were asked for but have no mixtures, and their number of speakers."""
        counts = {split: 0 for split in SPLITS if self._options.shares.get(split)}
        for split in self.speaker_splits.values():
            counts[split] = counts.get(split, 0) + 1
        return {split: count for split, count in counts.items() if split not in self._splits}

    def mixture_range(self, shard: Shard) -> tuple[int, int]:
        """The numbers of a shard's first mixture, and of the one after its last."""
        return shard_range(shard, self._splits[shard.split].num_mixtures)  # type: ignore[index]

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard, in order."""
        plan = self._splits[shard.split]  # type: ignore[index]
        start, stop = self.mixture_range(shard)
        for first in range(start, stop, _DRAFTS_AT_ONCE):
            groups = list(plan.pairing.groups(first, min(first + _DRAFTS_AT_ONCE, stop)))
            if runs := plan.runs:
                groups = [np.concatenate([runs[run] for run in group]) for group in groups]
            rows = plan.rows[np.concatenate(groups)]
            utterances = iter(self._catalogue.utterances(rows))
            remaining = iter(rows.tolist())
            ids = [f"{shard.split}-{first + index:09d}" for index in range(len(groups))]
            scenes = self._scenes.draw(ids, shard.split)
            for mixture_id, group, scene in zip(ids, groups, scenes, strict=True):
                own_rows = tuple(itertools.islice(remaining, len(group)))
                members = tuple(itertools.islice(utterances, len(group)))
                yield Draft(mixture_id, shard.split, own_rows, members, scene=scene or NO_FILES)

    def recipe(self, draft: Draft) -> Recipe:
        """Draws the recipe of a mixture."""
        return draw_recipe(self._options.config, self._options.seed, draft)

    def redraft(self, draft: Draft, unusable: Collection[int]) -> Draft:
        """Replaces the files of a mixture that turned out unusable.

        A speaker of a conversation who has other utterances goes without them. What takes the place
        of the rest depends on the seed, the mixture and on which are unusable; an utterance is of
        another speaker than the rest in any case.

        Args:
            draft: as planned.
            unusable: rows of the catalogue.

        Raises:
            NoUtteranceLeftError: the split has no other utterance, noise or room response.
        """
        speakers = self._catalogue.speakers
        generator = keyed_generator(self._options.seed, draft.id, "spares")
        order = generator.permutation(self._splits[draft.split].rows)  # type: ignore[index]
        spares = iter(order.tolist())
        rows = _leave_out(draft, unusable)
        for index, row in enumerate(rows):
            if row not in unusable:
                continue
            others = {speakers[other] for other in rows[:index] + rows[index + 1 :]}
            candidates: Iterator[int] = spares
            if self._options.config.same_gender_share is not None:
                own = self._catalogue.genders(np.array([row]))
                alike = order[self._catalogue.genders(order) == own]
                candidates = itertools.chain(alike.tolist(), spares)
            fitting = (
                spare
                for spare in candidates
                if spare not in unusable and speakers[spare] not in others
            )
            spare = next(fitting, None)
            if spare is None:
                raise NoUtteranceLeftError(draft.id)
            rows[index] = spare
        (scene,) = self._scenes.draw([draft.id], draft.split, unusable)
        if scene is None:
            raise NoUtteranceLeftError(draft.id)
        utterances = tuple(self._catalogue.utterances(np.array(rows)))
        return dataclasses.replace(draft, rows=tuple(rows), utterances=utterances, scene=scene)

    @property
    def _mixture_s(self) -> float:
        """About how long a mixture is, in seconds."""
        conversation = self._options.config.conversation
        return conversation.speech_s if conversation else _MIXTURE_S

    def _divide_into_runs(self, rows: Indices) -> Runs | None:
        config = self._options.config
        if config.conversation is None:
            return None
        return divide_into_runs(
            self._catalogue.speakers[rows],
            self._catalogue.durations_s(rows),
            config.conversation.speech_s / config.num_speakers,
        )

    def _gender_share(self, rows: Indices) -> GenderShare | None:
        share = self._options.config.same_gender_share
        if share is None:
            return None
        return GenderShare(self._catalogue.genders(rows) == "f", share)

    def _rows_by_split(self) -> dict[Split, Indices]:
        names = self._catalogue.speaker_names
        codes = np.array(
            [
                SPLITS.index(self.speaker_splits[name]) if name in self.speaker_splits else -1
                for name in names
            ]
        )
        row_codes = np.full(len(self._catalogue), -1)
        row_codes[self._speech] = codes[self._catalogue.speakers[self._speech]]
        rows = {
            split: np.flatnonzero(row_codes == code).astype(np.int32)
            for code, split in enumerate(SPLITS)
        }
        if not self._options.shares:
            # An utterance that its corpus places elsewhere than its speaker stands nowhere.
            for split in SPLITS:
                rows[split] = rows[split][self._catalogue.in_split(rows[split], split)]
        if self._options.config.same_gender_share is not None:
            known = {split: self._catalogue.genders(rows[split]) != "" for split in SPLITS}
            if not any(of_split.any() for of_split in known.values()):
                raise NothingToDoError(
                    "same_gender_share and this corpus do not go together: it says no speaker's"
                    " gender"
                )
            rows = {split: rows[split][known[split]] for split in SPLITS}
        if limit := self._options.config.max_utterances_per_speaker:
            rows = {split: self._limit_each_speaker(rows[split], limit) for split in SPLITS}
        return rows

    def _limit_each_speaker(self, rows: Indices, limit: int) -> Indices:
        """The first rows of each speaker; the catalogue is in an order that chance has made."""
        speakers = self._catalogue.speakers[rows]
        by_speaker = np.argsort(speakers, kind="stable")
        _, starts, counts = np.unique(speakers[by_speaker], return_index=True, return_counts=True)
        places = np.arange(len(rows)) - np.repeat(starts, counts)
        kept: Indices = rows[np.sort(by_speaker[places < limit])]
        return kept


def _leave_out(draft: Draft, unusable: Collection[int]) -> list[int]:
    """The rows of a draft without the unusable ones of speakers who have others."""
    rows: list[int] = []
    by_speaker = itertools.groupby(
        zip(draft.rows, draft.utterances, strict=True), key=lambda pair: pair[1].speaker
    )
    for _, pairs in by_speaker:
        own = [row for row, _ in pairs]
        rows += [row for row in own if row not in unusable] or own[:1]
    return rows
