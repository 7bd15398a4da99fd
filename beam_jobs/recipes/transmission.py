"""Draws what a mixture goes through on its way to a listener."""

import math
from collections.abc import Iterator, Sequence

from beam_jobs.recipes.random_numbers import draw, keyed_uniforms
from schemas.recipe_config import TransmissionStep
from schemas.transmission import PACKET_S, Step, make_step


def draw_transmission(
    channels: Sequence[Sequence[TransmissionStep]], duration_s: float, seed: int, mixture_id: str
) -> tuple[Step, ...]:
    """Draws one of several channels, the values of its steps, and the packets that get lost.

    Args:
        channels: the steps of each channel, as a recipe configuration has them.
        duration_s: the length of the mixture in seconds.
        seed: of the job.
        mixture_id: the id of the mixture.
    """
    number, uniforms = _draw_number(len(channels), seed, mixture_id)
    return tuple(_draw_step(step, duration_s, uniforms) for step in channels[number])


def drawn_channel(num_channels: int, seed: int, mixture_id: str) -> int:
    """Returns the number of the channel that `draw_transmission` draws for a mixture, from 0.

    The recipe does not tell: two channels may have the same steps, and come to the same values.
    """
    return _draw_number(num_channels, seed, mixture_id)[0]


def _draw_number(num_channels: int, seed: int, mixture_id: str) -> tuple[int, Iterator[float]]:
    """Draws the number of a channel; returns it, and the random numbers for its values."""
    uniforms = keyed_uniforms(seed, mixture_id, "transmission")
    return int(next(uniforms) * num_channels), uniforms


def _draw_step(step: TransmissionStep, duration_s: float, uniforms: Iterator[float]) -> Step:
    values: dict[str, float | list[int]] = {}
    for name, distribution in step.ranges.items():
        drawn = round(draw(distribution, uniforms), 4)
        if name == "packet_loss":
            num_packets = math.ceil(duration_s / PACKET_S)
            values["lost_packets"] = [
                number for number in range(num_packets) if next(uniforms) < drawn
            ]
        else:
            values[name] = drawn
    return make_step(step.kind, values)
