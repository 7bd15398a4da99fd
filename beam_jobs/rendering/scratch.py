"""Memory that every mixture of a worker uses again."""

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Scratch:
    """Buffers by name, each allocated once and grown when a larger array is asked for."""

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[np.uint8]] = {}

    def array(
        self, name: str, shape: tuple[int, ...], dtype: type[_Scalar]
    ) -> npt.NDArray[_Scalar]:
        """Returns an uninitialised array, valid until the same name is asked for again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size + size // 4, np.uint8)
        return np.ndarray(shape, dtype, buffer)
