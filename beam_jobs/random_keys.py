"""Random numbers that depend on what they are for, and on nothing else.

Changing anything here changes every dataset: the same seed no longer gives the same bytes.
"""

import hashlib

import numpy as np


def keyed_bytes(*key: object) -> bytes:
    """Sixteen bytes that are the same for the same key, in every process and on every machine."""
    return hashlib.blake2b(repr(key).encode(), digest_size=16).digest()


def keyed_generator(*key: object) -> np.random.Generator:
    """A generator of the numbers that belong to a key."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(keyed_bytes(*key), "little")))
