"""Random numbers that depend on what they are for, and on nothing else.

Changing anything here changes every dataset: the same seed no longer gives the same bytes.
"""

import hashlib
import struct
from collections.abc import Iterator

import numpy as np


def keyed_bytes(*key: object) -> bytes:
    """Sixteen bytes that are the same for the same key, in every process and on every machine."""
    return hashlib.blake2b(repr(key).encode(), digest_size=16).digest()


def keyed_generator(*key: object) -> np.random.Generator:
    """A generator of the numbers that belong to a key."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(keyed_bytes(*key), "little")))


def keyed_uniforms(*key: object) -> Iterator[float]:
    """The numbers that belong to a key, each from 0 to 1 and never 1.

    Where a handful is wanted, and for millions of keys: making a generator takes ten times as long.
    """
    name = repr(key).encode()
    for block in range(1 << 32):
        digest = hashlib.blake2b(name, salt=struct.pack("<Q", block)).digest()
        for number in struct.unpack("<8Q", digest):
            yield (number >> 11) * 2.0**-53
