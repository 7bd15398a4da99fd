"""Random numbers that depend on a key, and on nothing else.

Changing anything here changes every dataset: the same seed no longer gives the same bytes.
"""

import hashlib
import math
import struct
from collections.abc import Iterator

import numpy as np

from schemas.recipe_config import Choices, Distribution, LogNormal, Quantiles, Uniform


def keyed_bytes(*key: object) -> bytes:
    """Returns sixteen bytes that depend on a key alone, in every process and on every machine."""
    return hashlib.blake2b(repr(key).encode(), digest_size=16).digest()


def keyed_generator(*key: object) -> np.random.Generator:
    """Returns a generator of the random numbers of a key."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(keyed_bytes(*key), "little")))


def keyed_uniforms(*key: object) -> Iterator[float]:
    """Yields the random numbers of a key, each from 0 to 1 and never 1.

    For a handful of numbers for each of millions of keys: a generator takes ten times as long to
    make.
    """
    name = repr(key).encode()
    for block in range(1 << 32):
        digest = hashlib.blake2b(name, salt=struct.pack("<Q", block)).digest()
        for number in struct.unpack("<8Q", digest):
            yield (number >> 11) * 2.0**-53


def draw(distribution: Distribution, uniforms: Iterator[float]) -> float:
    """Draws a number from a distribution, by the next of some random numbers from 0 to 1."""
    if isinstance(distribution, LogNormal):
        # The Box-Muller transform gives a normal number.
        radius = math.sqrt(-2 * math.log(1 - next(uniforms)))
        normal = radius * math.cos(2 * math.pi * next(uniforms))
        return distribution.median * math.exp(distribution.sigma * normal)
    if isinstance(distribution, Choices):
        return distribution.values[int(next(uniforms) * len(distribution.values))]
    if isinstance(distribution, Quantiles):
        whole, part = divmod(next(uniforms) * (len(distribution.values) - 1), 1)
        low, high = distribution.values[int(whole) : int(whole) + 2]
        return low + (high - low) * part
    return distribution.low + (distribution.high - distribution.low) * next(uniforms)


def draw_whole(distribution: Distribution, uniforms: Iterator[float]) -> int:
    """Draws a whole number from a distribution of them; those in a range are equally likely."""
    if isinstance(distribution, Uniform):
        distribution = Uniform(distribution.low, distribution.high + 1)
    return int(draw(distribution, uniforms))
