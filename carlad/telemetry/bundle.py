"""What travels to a viewer, and its bytes: one frame bundle a tick, and the map's lanes once.

A message is one ZeroMQ frame: the subscribed topic, a zero byte, the header's length (uint32, little-endian),
the header (msgpack), then the arrays' bytes in the header's order. Positions are CARLA's: metres, x forward
(east), y right (south), yaw in degrees from x towards y.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BUNDLE = "bundle"
MAP = "map"
DTYPES = ("uint8", "float32")


class Ego(msgspec.Struct, frozen=True, array_like=True):
    """The vehicle that the policy drives: centre in metres, yaw in degrees, speed in m/s."""

    x: float
    y: float
    yaw_deg: float
    speed_mps: float
    half_length_m: float = 2.4
    half_width_m: float = 1.0


class Control(msgspec.Struct, frozen=True, array_like=True):
    """The control applied in this tick: steer in [-1, 1], positive to the right; the pedals in [0, 1]."""

    steer: float
    throttle: float
    brake: float
    reverse: bool = False


class Actor(msgspec.Struct, frozen=True, array_like=True):
    """Another actor's box on the ground; `kind` is the blueprint's first word ("vehicle", "walker", ...)."""

    id: int
    kind: str
    x: float
    y: float
    yaw_deg: float
    half_length_m: float
    half_width_m: float


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """All that one tick has to show, arrays aside. Fields may be added later, with defaults; none is renamed.

    `frame` is the simulator's number of the tick, `tick` counts from the episode's start, `server` is
    "host:port", `route` holds the points still ahead, `success_rate` is in [0, 1], and `note` says in words
    what a viewer should know ("server lost, waiting for a replacement").
    """

    version: int = 1
    session: str
    episode: int
    tick: int
    frame: int
    sim_time_s: float
    server: str
    map: str
    ego: Ego | None = None
    control: Control | None = None
    actors: list[Actor] = []
    route: list[tuple[float, float]] = []
    reward_terms: dict[str, float] = {}
    episode_return: float = 0.0
    success_rate: float | None = None
    steps_per_s: float | None = None
    note: str | None = None


class Lane(NamedTuple):
    """One piece of a lane between two boundary polylines that run the same way.

    `left` and `right`: float32 (N, 2), metres, at least two points each. `kind` is OpenDRIVE's lane type
    ("driving", "shoulder", "sidewalk", ...). The marks are "none", "solid" or "broken".
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    kind: str = "driving"
    left_mark: str = "none"
    right_mark: str = "none"


class Lanes(NamedTuple):
    """A map's static geometry."""

    map: str
    lanes: list[Lane]


class _ArrayInfo(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    shape: list[int]


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


def encode_bundle(topic: str, bundle: Bundle, arrays: Mapping[str, Array]) -> bytes:
    """The message for one topic. Raises ValueError for an array that is neither uint8 nor float32."""
    if wrong := [
        f"{name} ({array.dtype})" for name, array in arrays.items() if array.dtype.name not in DTYPES
    ]:
        raise ValueError(f"cannot send {', '.join(wrong)}: arrays are {' or '.join(DTYPES)}")
    infos = [_ArrayInfo(name, array.dtype.name, list(array.shape)) for name, array in arrays.items()]
    parts = [array.tobytes() for array in arrays.values()]
    return _message(topic, _encode(_BundleHeader(bundle, infos)), parts)


def decode_bundle(message: bytes) -> tuple[Bundle, dict[str, Array]]:
    """The bundle and its arrays, which are read-only. Raises ValueError for anything malformed."""
    header, body = _split(message)
    decoded = _decode_bundle_header(header)
    arrays: dict[str, Array] = {}
    for info in decoded.arrays:
        if info.dtype not in DTYPES or min(info.shape, default=1) < 0:
            raise ValueError(f"cannot read array {info.name!r}: {info.dtype} {info.shape}")
        array, body = _take(body, info.dtype, math.prod(info.shape))
        arrays[info.name] = array.reshape(info.shape)
    return decoded.bundle, arrays


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
