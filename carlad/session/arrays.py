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

_COPIED_BYTES_MAX = 16 << 10

_DTYPES = {name: np.dtype(name) for name in ITEM_BYTES}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}  # in this machine's byte order only


def header(name: str, array: Array, offset: int | None = None) -> ArrayHeader:
    """Raises ProtocolError for an array of another dtype or byte order than the protocol has."""
    dtype = dtype_name(array)
    if dtype is None:
        raise ProtocolError(f"cannot send an array of {array.dtype}: known are {', '.join(_DTYPES)}")
    return ArrayHeader(name, dtype, array.shape, offset)


def raw(array: Array) -> Buffer:
    """Its bytes in C order: a copy where that is quicker, or they lie otherwise."""
    if array.nbytes < _COPIED_BYTES_MAX:
        return array.tobytes()
    contiguous = np.ascontiguousarray(array)
    return contiguous.reshape(-1).view(np.uint8).data if contiguous.size else b""


def dtype_name(array: Array) -> str | None:
    """As headers have it; None for a dtype or byte order that none has."""
    return _NAMES.get(array.dtype)


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
    try:
        return np.ndarray(part.shape, _DTYPES[part.dtype], buffer, offset)
    except (ValueError, OverflowError) as error:  # more dimensions, or larger ones, than an array may have
        raise ProtocolError(f"cannot read array {part.name!r}: {error}") from error
