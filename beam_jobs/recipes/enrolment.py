"""Chooses an enrolment of each speaker in a mixture: another utterance, to find the speaker by.

Enrolments have random numbers of their own, so that the same seed gives the same mixtures, with
enrolments and without.
"""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.recipes.group_sizes import Indices
from beam_jobs.recipes.random_numbers import keyed_uniforms
from schemas.recipe import Recipe, Utterance


def has_another(speakers: Indices) -> npt.NDArray[np.bool_]:
    """Returns whether the speaker of each of some utterances has another one, [utterances]."""
    counts = np.bincount(speakers)
    several: npt.NDArray[np.bool_] = counts[speakers] > 1
    return several


class Enrolments:
    """The utterances that the speakers of a split can be enrolled with."""

    def __init__(self, speakers: Indices, entries: Indices, seed: int) -> None:
        """Finds the utterances of each speaker.

        Args:
            speakers: int32 [utterances], the speaker of each entry of the catalogue.
            entries: int32 [utterances], those of the split.
            seed: of the job.
        """
        self._entries = entries[np.argsort(speakers[entries], kind="stable")]
        self._speakers = speakers[self._entries]
        self._seed = seed

    def draw(
        self,
        mixture_id: str,
        row: int,
        speaker: int,
        heard: Collection[int],
        unusable: Collection[int] = (),
    ) -> int | None:
        """Draws an utterance of a speaker that is not in a mixture.

        To know that another file is unusable changes nothing, unless that file would be drawn.

        Args:
            mixture_id: of the mixture.
            row: of the speaker in the mixture.
            speaker: the number of the speaker in the catalogue.
            heard: the entries of the utterances that are in the mixture.
            unusable: entries of the catalogue.

        Returns:
            The entry of the utterance; None if the speaker has no other one that can be used.
        """
        own = self._of_speaker(speaker)
        if self.has_other(speaker, heard, unusable):
            for number in keyed_uniforms(self._seed, mixture_id, "enrolment", row):
                entry = own[int(number * len(own))]
                if entry not in heard and entry not in unusable:
                    return entry
        return None

    def has_other(
        self, speaker: int, heard: Collection[int], unusable: Collection[int] = ()
    ) -> bool:
        """Returns whether a speaker has an utterance that can be used and is not in a mixture."""
        return any(
            entry not in heard and entry not in unusable for entry in self._of_speaker(speaker)
        )

    def _of_speaker(self, speaker: int) -> list[int]:
        first, stop = np.searchsorted(self._speakers, [speaker, speaker + 1])
        return self._entries[first:stop].tolist()  # type: ignore[no-any-return]


def place_enrolments(
    recipe: Recipe, utterances: Sequence[Utterance], enrolment_s: float, seed: int
) -> Recipe:
    """Returns a recipe with an enrolment of the speaker of each row.

    An enrolment is played at the level of its row, and as fast as its first utterance.

    Args:
        recipe: of the mixture.
        utterances: another one of each speaker.
        enrolment_s: the length of an enrolment; a part is taken of a longer utterance.
        seed: of the job.
    """
    enrolments = []
    for row, (sources, utterance) in enumerate(zip(recipe.rows, utterances, strict=True)):
        like = sources[0]
        num_frames = round(enrolment_s * utterance.sample_rate * (like.speed or 1))
        spare = max(utterance.stop - utterance.start - num_frames, 0)
        uniforms = keyed_uniforms(seed, recipe.id, "enrolment start", row)
        start = utterance.start + int(next(uniforms) * (spare + 1))
        played = dataclasses.replace(utterance, speed=like.speed or 1.0)
        enrolments.append(
            played.place(
                start,
                min(start + num_frames, utterance.stop),
                offset_s=0.0,
                level_kind=like.level_kind,
                level=like.level,
            )
        )
    return dataclasses.replace(recipe, enrolments=tuple(enrolments), enrolment_s=float(enrolment_s))
