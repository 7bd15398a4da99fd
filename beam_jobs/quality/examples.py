"""Mixtures of a dataset to look at and to listen to."""

import dataclasses
from collections.abc import Sequence

from schemas.mixture import StoredMixture
from schemas.pcm import Pcm
from schemas.recipe import Source


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A mixture that the report shows and plays.

    Attributes:
        id: of the mixture.
        split: that it belongs to.
        sample_rate: in Hz.
        mixture: int16 `[samples, channels]`.
        sources: int16 `[sources, samples, channels]`, each as it sounds in the mixture.
        noise: int16 `[samples, channels]`, or None where the mixture has none.
        speakers: of each source.
        placed_s: of each source, start and end of each utterance in the mixture, in seconds.
        gains_db: all that was applied to the samples of each source's file.
        noise_events_s: start and end of each noise event in the mixture, in seconds, ascending.
        degraded: int16 `[samples, channels]`, the mixture after its transmission, or None.
    """

    id: str
    split: str
    sample_rate: int
    mixture: Pcm
    sources: Pcm
    noise: Pcm | None
    speakers: tuple[str, ...]
    placed_s: tuple[tuple[tuple[float, float], ...], ...]
    gains_db: tuple[float, ...]
    noise_events_s: tuple[tuple[float, float], ...] = ()
    degraded: Pcm | None = None


def make_example(stored: StoredMixture) -> Example:
    """Makes an example of a mixture of a dataset."""
    recipe = stored.recipe
    return Example(
        id=recipe.id,
        split=recipe.split,
        sample_rate=recipe.sample_rate,
        mixture=stored.mixture,
        sources=stored.own_sources,
        noise=stored.noise,
        speakers=tuple(row[0].speaker for row in recipe.rows),
        placed_s=tuple(map(_placed_s, recipe.rows)),
        gains_db=stored.own_gains_db,
        noise_events_s=tuple(
            sorted(
                (event.offset_s, event.offset_s + event.duration_s)
                for event in recipe.noise_events or ()
            )
        ),
        degraded=stored.degraded,
    )


def _placed_s(row: Sequence[Source]) -> tuple[tuple[float, float], ...]:
    # An utterance that was cropped to nothing is nowhere in the mixture.
    placed = [(one.offset_s, one.offset_s + one.duration_s) for one in row if one.stop > one.start]
    return tuple(placed) or ((0.0, 0.0),)
