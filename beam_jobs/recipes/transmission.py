"""Draws what a mixture goes through on its way to a listener."""

import math
from collections.abc import Iterator, Sequence

from beam_jobs.recipes.random_numbers import draw
from schemas.recipe_config import TransmissionStep
from schemas.transmission import PACKET_S, Step, make_step


def draw_transmission(
    channels: Sequence[Sequence[TransmissionStep]], duration_s: float, uniforms: Iterator[float]
) -> tuple[Step, ...]:
    """Draws one of several channels, the values of its steps, and the packets that get lost.

    Args:
        channels: the steps of each channel, as a recipe configuration has them.
        duration_s: the length of the mixture in seconds.
        uniforms: random numbers from 0 to 1.
    """
    steps = channels[int(next(uniforms) * len(channels))]
    return tuple(_draw_step(step, duration_s, uniforms) for step in steps)


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
