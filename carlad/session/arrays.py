"""Arrays as headers and raw bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carlad.session.protocol import ArrayHeader, ProtocolError
from carlad.spaces import ITEM_BYTES

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Buffer = bytes | bytearray | memoryview

_DTYPES = {name: np.dtype(name) for name in ITEM_BYTES}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}  # in this machine's byte order only


def header(name: str, array: Array, offset: int | None = None) -> ArrayHeader:
    """Raises ProtocolError for an array of another dtype or byte order than the protocol has."""
    dtype = _NAMES.get(array.dtype)
    if dtype is None:
        raise ProtocolError(f"cannot send an array of {array.dtype}: known are {', '.join(_DTYPES)}")
    return ArrayHeader(name, dtype, list(array.shape), offset)


def raw(array: Array) -> Buffer:
    """Its bytes in C order, without a copy where they lie so already."""
    contiguous = np.ascontiguousarray(array)
    return contiguous.reshape(-1).view(np.uint8).data if contiguous.size else b""


def read(headers: Sequence[ArrayHeader], body: bytearray, shared: memoryview | None) -> dict[str, Array]:
    """The arrays by name: writable views of `body`, or of the shared memory for those that lie there.

    `body` has the size that the headers say. Raises ProtocolError.
    """
    found: dict[str, Array] = {}
    position = 0
    for part in headers:
        size_bytes = part.size_bytes
        if part.offset is None:
            found[part.name] = _view(part, body, position)
            position += size_bytes
        elif shared is None or not 0 <= part.offset <= len(shared) - size_bytes:
            raise ProtocolError(f"cannot read array {part.name!r}: it is not in the shared memory")
        else:
            found[part.name] = _view(part, shared, part.offset)
    return found


def _view(part: ArrayHeader, buffer: bytearray | memoryview, offset: int) -> Array:
    dtype = _DTYPES[part.dtype]
    if part.size_bytes == 0:
        return np.zeros(part.shape, dtype)
    return np.frombuffer(buffer, dtype, part.size_bytes // dtype.itemsize, offset).reshape(part.shape)
