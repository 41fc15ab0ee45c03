"""What clients draw into the world for debugging, for as long as it lives.

Shapes become strokes: straight lines with a thickness. Source of the shapes' layouts: LibCarla
`carla/rpc/DebugShape.h` (0.9.16).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import TypeVar

import msgspec

from carlad.standin.errors import require_finite
from carlad.standin.geometry import compose, length, point
from carlad.wire import types as t
from carlad.wire.errors import CallError

STROKES_MAX = 20_000  # older ones give way
_EPSILON_S = 1e-6  # simulated time is a sum of floats
_HEAD_SPREAD = 0.5  # of an arrow's head: its half width by its length

_Primitive = TypeVar("_Primitive", bound=t.Wire)
_Strokes = Iterator[tuple[t.Vector3D, t.Vector3D, float]]  # start, end, thickness in metres


@dataclass(frozen=True)
class Stroke:
    """From `start` to `end` (m, world), or a dot where both are the same; `thickness_m` across."""

    start: t.Vector3D
    end: t.Vector3D
    thickness_m: float
    color: tuple[int, int, int]
    until_s: float  # simulated time; inf: for ever


class Drawings:
    """The strokes of one episode."""

    def __init__(self) -> None:
        self._strokes: deque[Stroke] = deque(maxlen=STROKES_MAX)

    def add(self, shape: t.DebugShape, now_s: float, delta_s: float) -> None:
        """Draw a shape; it is seen in the next tick at least. Raises CallError for a kind that is none.

        Texts and shapes on the screen (HUD) are drawn on the server's own window, which there is not.
        """
        kind, payload = shape.primitive
        if not 0 <= kind < len(_PRIMITIVES):
            last = len(_PRIMITIVES) - 1
            raise CallError(f"cannot draw a debug shape of kind {kind}: the last one is {last}")
        strokes = _PRIMITIVES[kind]
        if strokes is None:
            return
        color = shape.color
        until_s = inf if shape.life_time < 0.0 else now_s + max(shape.life_time, delta_s)
        for start, end, thickness_m in strokes(payload):
            require_finite("a debug shape", *_numbers(start), *_numbers(end), thickness_m)
            drawn = Stroke(start, end, thickness_m, (color.r, color.g, color.b), until_s)
            self._strokes.append(drawn)

    def clear(self) -> None:
        self._strokes.clear()

    def at(self, now_s: float) -> tuple[Stroke, ...]:
        """What is to be seen at a simulated time; what is older is forgotten."""
        if any(stroke.until_s < now_s - _EPSILON_S for stroke in self._strokes):
            kept = [stroke for stroke in self._strokes if stroke.until_s >= now_s - _EPSILON_S]
            self._strokes = deque(kept, maxlen=STROKES_MAX)
        return tuple(self._strokes)


class _Point(t.Wire):
    location: t.Vector3D
    size: float


class _Line(t.Wire):
    begin: t.Vector3D
    end: t.Vector3D
    thickness: float


class _Arrow(t.Wire):
    line: _Line
    arrow_size: float


class _Box(t.Wire):
    box: t.BoundingBox
    rotation: t.Rotation
    thickness: float


def _point(payload: msgspec.Raw) -> _Strokes:
    dot = _decode(payload, _Point)
    yield dot.location, dot.location, dot.size


def _line(payload: msgspec.Raw) -> _Strokes:
    line = _decode(payload, _Line)
    yield line.begin, line.end, line.thickness


def _arrow(payload: msgspec.Raw) -> _Strokes:
    arrow = _decode(payload, _Arrow)
    begin, end, thickness = arrow.line.begin, arrow.line.end, arrow.line.thickness
    yield begin, end, thickness
    way = t.Vector3D(end.x - begin.x, end.y - begin.y, end.z - begin.z)
    far = length(way) or 1.0
    back = t.Vector3D(*(-part / far * arrow.arrow_size for part in _numbers(way)))
    aside = _across(back)
    for side in (-_HEAD_SPREAD, _HEAD_SPREAD):
        barb = t.Vector3D(
            end.x + back.x + side * aside.x, end.y + back.y + side * aside.y, end.z + back.z + side * aside.z
        )
        yield barb, end, thickness


def _box(payload: msgspec.Raw) -> _Strokes:
    """The twelve edges. The box's own rotation counts as the one beside it does."""
    drawn = _decode(payload, _Box)
    middle = t.Transform(drawn.box.location, drawn.rotation)
    frame = compose(middle, t.Transform(t.Vector3D(), drawn.box.rotation))
    extent = drawn.box.extent
    corners = {
        signs: point(frame, t.Vector3D(signs[0] * extent.x, signs[1] * extent.y, signs[2] * extent.z))
        for signs in product((-1, 1), repeat=3)
    }
    for signs, corner in corners.items():
        for axis in range(3):
            if signs[axis] < 0:
                other = tuple(-sign if k == axis else sign for k, sign in enumerate(signs))
                yield corner, corners[other], drawn.thickness


# By kind: point, line, arrow, box; None: text, and the four again on the screen.
_PRIMITIVES: tuple[Callable[[msgspec.Raw], _Strokes] | None, ...] = (
    _point, _line, _arrow, _box, None, None, None, None, None,
)  # fmt: skip


def _decode(payload: msgspec.Raw, kind: type[_Primitive]) -> _Primitive:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallError(f"cannot draw a debug shape: {error}") from error


def _across(way: t.Vector3D) -> t.Vector3D:
    """A vector of the same length, level and at a right angle."""
    level = (way.x * way.x + way.y * way.y) ** 0.5
    if not level:
        return t.Vector3D(length(way), 0.0, 0.0)
    scale = length(way) / level
    return t.Vector3D(-way.y * scale, way.x * scale, 0.0)


def _numbers(v: t.Vector3D) -> tuple[float, float, float]:
    return v.x, v.y, v.z
