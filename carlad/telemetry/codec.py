"""The bytes of telemetry on the wire: frame bundles and a map's geometry.

A message is one ZeroMQ frame: the subscribed topic, a zero byte, the header's length (uint32, little-endian),
the header (msgpack), then the arrays' bytes in the header's order. A colour image may be JPEG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from carlad.telemetry import jpeg
from carlad.telemetry.bundle import MAP, Array, Bundle, Frame, Lane, Lanes

DTYPES = ("uint8", "float32")


class _ArrayInfo(msgspec.Struct, frozen=True, array_like=True):
    """`jpeg_bytes`: so many bytes of JPEG instead of the array's own, if not 0."""

    name: str
    dtype: str
    shape: list[int]
    jpeg_bytes: int = 0


class _BundleHeader(msgspec.Struct, frozen=True):
    bundle: Bundle
    arrays: list[_ArrayInfo]


class _LaneInfo(msgspec.Struct, frozen=True, array_like=True):
    left_points: int
    right_points: int
    kind: str
    left_mark: str
    right_mark: str


class _LanesHeader(msgspec.Struct, frozen=True):
    map: str
    lanes: list[_LaneInfo]


def _plain(value: object) -> object:
    """numpy's scalars and arrays as Python's: who computes with numpy need not convert."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot send a {type(value).__name__} in a bundle")


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decode_bundle_header = msgspec.msgpack.Decoder(_BundleHeader).decode
_decode_lanes_header = msgspec.msgpack.Decoder(_LanesHeader).decode


def encode_bundle(topic: str, bundle: Bundle, arrays: Mapping[str, Array], as_jpeg: bool = False) -> bytes:
    """The message for one topic; `as_jpeg`: colour images are compressed, with a loss.

    Raises ValueError for an array that is neither uint8 nor float32.
    """
    if wrong := [
        f"{name} ({array.dtype})" for name, array in arrays.items() if array.dtype.name not in DTYPES
    ]:
        raise ValueError(f"cannot send {', '.join(wrong)}: arrays are {' or '.join(DTYPES)}")
    infos, parts = [], []
    for name, array in arrays.items():
        image = jpeg.encode(array) if as_jpeg and jpeg.is_image(array) else b""
        infos.append(_ArrayInfo(name, array.dtype.name, list(array.shape), len(image)))
        parts.append(image or array.tobytes())
    return _message(topic, _encode(_BundleHeader(bundle, infos)), parts)


def decode_bundle(message: bytes) -> Frame:
    """The bundle and its arrays, which are read-only. Raises ValueError for anything malformed."""
    header, body = _split(message)
    decoded = _decode_bundle_header(header)
    arrays: dict[str, Array] = {}
    for info in decoded.arrays:
        if info.dtype not in DTYPES or min(info.shape, default=1) < 0:
            raise ValueError(f"cannot read array {info.name!r}: {info.dtype} {info.shape}")
        if info.jpeg_bytes:
            image, body = _take(body, "uint8", info.jpeg_bytes)
            arrays[info.name] = jpeg.decode(image.data, tuple(info.shape))
        else:
            array, body = _take(body, info.dtype, math.prod(info.shape))
            arrays[info.name] = array.reshape(info.shape)
    return Frame(decoded.bundle, arrays)


def encode_lanes(lanes: Lanes) -> bytes:
    """The message that carries a map's geometry."""
    infos = [_LaneInfo(len(a.left), len(a.right), a.kind, a.left_mark, a.right_mark) for a in lanes.lanes]
    parts = [np.asarray(side, np.float32).tobytes() for a in lanes.lanes for side in (a.left, a.right)]
    return _message(MAP, _encode(_LanesHeader(lanes.map, infos)), parts)


def decode_lanes(message: bytes) -> Lanes:
    """The map's geometry. Raises ValueError for anything malformed."""
    header, body = _split(message)
    decoded = _decode_lanes_header(header)
    lanes = []
    for info in decoded.lanes:
        if min(info.left_points, info.right_points) < 2:
            raise ValueError(f"cannot read a lane of {info.left_points} and {info.right_points} points")
        left, body = _take(body, "float32", info.left_points * 2)
        right, body = _take(body, "float32", info.right_points * 2)
        sides = left.reshape(-1, 2), right.reshape(-1, 2)
        lanes.append(Lane(*sides, info.kind, info.left_mark, info.right_mark))
    return Lanes(decoded.map, lanes)


def _message(topic: str, header: bytes, parts: list[bytes]) -> bytes:
    return b"".join((topic.encode(), b"\0", len(header).to_bytes(4, "little"), header, *parts))


def _split(message: bytes) -> tuple[memoryview, memoryview]:
    """Header and body of a message."""
    start = message.index(b"\0") + 5
    end = start + int.from_bytes(message[start - 4 : start], "little")
    if end > len(message):
        raise ValueError(f"cannot read a header of {end - start} bytes in a message of {len(message)}")
    view = memoryview(message)
    return view[start:end], view[end:]


def _take(body: memoryview, dtype: str, count: int) -> tuple[Array, memoryview]:
    """The next `count` values of the body, and what is left of it."""
    size = count * np.dtype(dtype).itemsize
    if size > len(body):
        raise ValueError(f"cannot read {count} {dtype} values from {len(body)} bytes")
    return np.frombuffer(body[:size], dtype), body[size:]
