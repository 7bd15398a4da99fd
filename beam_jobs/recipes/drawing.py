"""Draws the recipe of a mixture: when each utterance starts, its level, and what is kept."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from beam_jobs.recipes.conversation import conversation_offsets
from beam_jobs.recipes.enrolment import place_enrolments
from beam_jobs.recipes.overlap import overlap_offsets
from beam_jobs.recipes.random_numbers import draw, keyed_uniforms
from beam_jobs.recipes.scene import NO_FILES, SceneFiles, draw_scene, draw_speeds
from beam_jobs.recipes.transmission import draw_transmission
from schemas.recipe import LevelKind, Recipe, Source, Utterance
from schemas.recipe_config import RecipeConfig, Uniform

# The RMS level of the first source when levels are relative: far from full scale.
_REFERENCE_RMS_DBFS = -25.0


def draw_recipe(
    config: RecipeConfig,
    *,
    seed: int,
    mixture_id: str,
    split: str,
    utterances: Sequence[Utterance],
    scene: SceneFiles = NO_FILES,
    shared_room: str = "",
    enrolments: Sequence[Utterance] = (),
) -> Recipe:
    """Draws everything about a mixture that a configuration leaves to chance.

    Args:
        config: what to draw from.
        seed: of the job; the random numbers depend on it and on the id of the mixture.
        mixture_id: the id of the mixture.
        split: of the mixture.
        utterances: in the mixture; those of one speaker are next to each other, and only in a
            conversation does anyone have several.
        scene: the files of its noise and of its room.
        shared_room: the name of the simulated room that it shares with others; empty for its own.
        enrolments: another utterance of each speaker, if the configuration asks for them.
    """
    rate = config.sample_rate
    uniforms = keyed_uniforms(seed, mixture_id)
    utterances = draw_speeds(utterances, config, seed, mixture_id)
    row_sizes = [1] * len(utterances)
    if config.conversation is not None:
        speakers = itertools.groupby(utterance.speaker for utterance in utterances)
        row_sizes = [len(list(own)) for _, own in speakers]
    rows = [row for row, size in enumerate(row_sizes) for _ in range(size)]
    # Whole samples, so that rendering need not round.
    offsets = list(_draw_offsets(config, utterances, row_sizes, uniforms))
    in_order = sorted(range(len(rows)), key=lambda index: (rows[index], offsets[index]))
    utterances = [utterances[index] for index in in_order]
    offsets_s = [offsets[index] / rate for index in in_order]
    level_kind, row_levels = _draw_levels(config, len(row_sizes), uniforms)
    ends_s = [
        offset_s + utterance.duration_s
        for offset_s, utterance in zip(offsets_s, utterances, strict=True)
    ]
    # The first end among the sources that still sound when the last one starts.
    overlap_end_s = min(end_s for end_s in ends_s if end_s > offsets_s[-1])
    start_s, stop_s = 0.0, max(ends_s)
    if config.length == "min":
        stop_s = overlap_end_s
    elif config.length != "max":
        length_s = round(config.length * rate) / rate
        if config.conversation is not None:
            start_s = _draw_stretch(length_s, stop_s, offsets_s, rows, uniforms)
        else:
            start_s = _draw_crop(length_s, stop_s, offsets_s[-1], overlap_end_s, uniforms)
        start_s = round(start_s * rate) / rate
        stop_s = start_s + length_s
    recipe = Recipe(
        id=mixture_id,
        split=split,
        sample_rate=rate,
        duration_s=max(round((stop_s - start_s) * rate), 1) / rate,
        channels=config.channels,
        sources=tuple(
            _place(
                utterance,
                offset_s,
                start_s,
                stop_s,
                level_kind,
                row_levels[row],
                row if config.conversation is not None else None,
            )
            for utterance, offset_s, row in zip(utterances, offsets_s, rows, strict=True)
        ),
        num_rows=config.most_speakers if config.most_speakers > len(row_sizes) else None,
    )
    recipe = draw_scene(recipe, scene, config, seed, shared_room)
    if config.enrolment_s is not None:
        recipe = place_enrolments(recipe, enrolments, config.enrolment_s, seed)
    if config.transmission is None:
        return recipe
    steps = draw_transmission(config.transmission, recipe.duration_s, seed, mixture_id)
    return dataclasses.replace(recipe, transmission=steps)


def _draw_offsets(
    config: RecipeConfig,
    utterances: Sequence[Utterance],
    row_sizes: Sequence[int],
    uniforms: Iterator[float],
) -> Iterator[int]:
    """Yields the first sample of each utterance in the mixture."""
    rate = config.sample_rate
    if config.offset_s is not None:
        offset_s = 0.0
        yield 0
        for _ in utterances[1:]:
            offset_s += draw(config.offset_s, uniforms)
            yield round(offset_s * rate)
        return
    lengths = [math.ceil(utterance.duration_s * rate) for utterance in utterances]
    if config.overlap_ratio is not None:
        yield from overlap_offsets(lengths, draw(config.overlap_ratio, uniforms))
    elif config.conversation is not None:
        remaining = iter(lengths)
        by_row = [list(itertools.islice(remaining, size)) for size in row_sizes]
        offsets = conversation_offsets(by_row, config.conversation, rate, uniforms)
        yield from itertools.chain.from_iterable(offsets)


def _draw_levels(
    config: RecipeConfig, count: int, uniforms: Iterator[float]
) -> tuple[LevelKind, list[float]]:
    """Draws a level for each row of the dataset's `sources`."""
    levels = [round(draw(config.level, uniforms), 4) for _ in range(count)]
    if config.level_kind == "relative_db":
        return "rms_dbfs", [
            _REFERENCE_RMS_DBFS,
            *(_REFERENCE_RMS_DBFS - level for level in levels[1:]),
        ]
    return config.level_kind, levels


def _draw_crop(
    length_s: float,
    end_s: float,
    overlap_start_s: float,
    overlap_end_s: float,
    uniforms: Iterator[float],
) -> float:
    """Draws the start of a crop that has as much of the overlap, and of the mixture, as it can."""
    last_start_s = max(end_s - length_s, 0.0)
    bounds_s = sorted((overlap_start_s, overlap_end_s - length_s))
    low_s, high_s = (min(max(bound_s, 0.0), last_start_s) for bound_s in bounds_s)
    return draw(Uniform(low_s, high_s), uniforms)


def _draw_stretch(
    length_s: float,
    end_s: float,
    offsets_s: Sequence[float],
    rows: Sequence[int],
    uniforms: Iterator[float],
) -> float:
    """Draws the start of a stretch of a conversation, with a change of speakers if it can be."""
    turns = itertools.pairwise(sorted(zip(offsets_s, rows, strict=True)))
    changes_s = [start_s for (_, before), (start_s, row) in turns if row != before]
    change_s = changes_s[int(next(uniforms) * len(changes_s))] if changes_s else 0.0
    start_s = change_s - draw(Uniform(0.25, 0.75), uniforms) * length_s
    return min(max(start_s, 0.0), max(end_s - length_s, 0.0))


def _place(
    utterance: Utterance,
    offset_s: float,
    start_s: float,
    stop_s: float,
    level_kind: LevelKind,
    level: float,
    row: int | None,
) -> Source:
    """Places an utterance in a mixture that is cut to the stretch from start to stop."""
    rate = utterance.played_rate
    skipped = round(max(start_s - offset_s, 0.0) * rate)
    start = min(utterance.start + skipped, utterance.stop)
    stop = max(min(utterance.start + round((stop_s - offset_s) * rate), utterance.stop), start)
    return utterance.place(
        start,
        stop,
        offset_s=max(offset_s - start_s, 0.0) if stop > start else 0.0,
        level_kind=level_kind,
        level=level,
        row=row,
    )
