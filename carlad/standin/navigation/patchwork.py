"""A patchwork of convex polygons in which nothing lies on top of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from math import floor
from typing import NamedTuple

from carlad.standin.navigation.convex import EPSILON_M, Polygon, is_sliver, ray_enters, subtract

_CELL_M = 12.0
_HEADROOM_M = 1.0  # layers further apart than this are different storeys


class Area(IntEnum):
    """What one walks on: CARLA's area types (LibCarla `carla/nav/Navigation.h`, 0.9.16)."""

    SIDEWALK = 1
    CROSSWALK = 2
    ROAD = 3


class Patch(NamedTuple):
    """A convex polygon, its area, and the box around it in metres: x, y and z from and to."""

    polygon: Polygon
    area: Area
    box: tuple[float, float, float, float, float, float]


class Patchwork:
    """Collects polygons; where a new one overlaps what is there, it gets what is left."""

    def __init__(self) -> None:
        self.patches: list[Patch] = []
        self._cells: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, polygon: Polygon, area: Area) -> None:
        pieces = [polygon]
        for other in self._near(_box(polygon)):
            pieces = [rest for piece in pieces for rest in subtract(piece, other.polygon)]
        for piece in pieces:
            if not is_sliver(piece):
                self._admit(Patch(piece, area, _box(piece)))

    def reach(
        self, origin: tuple[float, float, float], direction: tuple[float, float], limit_m: float, area: Area
    ) -> float | None:
        """How far from `origin` along `direction` (unit) the first patch of `area` begins, m."""
        x, y, z = origin
        far_x, far_y = x + direction[0] * limit_m, y + direction[1] * limit_m
        beside = EPSILON_M  # so that a ray along a seam meets one of the patches there
        corners = (
            (min(x, far_x) - beside, min(y, far_y) - beside, z),
            (max(x, far_x) + beside, max(y, far_y) + beside, z),
        )
        hits = (
            ray_enters(patch.polygon, origin, direction)
            for patch in self._near(_box(corners))
            if patch.area == area
        )
        return min((hit for hit in hits if hit is not None and hit <= limit_m), default=None)

    def _admit(self, patch: Patch) -> None:
        for cell in _cells(patch.box):
            self._cells[cell].append(len(self.patches))
        self.patches.append(patch)

    def _near(self, box: tuple[float, float, float, float, float, float]) -> list[Patch]:
        """Patches of the same storey whose boxes overlap, in the order in which they came."""
        found = {index for cell in _cells(box) for index in self._cells.get(cell, ())}
        return [patch for index in sorted(found) if _overlap((patch := self.patches[index]).box, box)]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return (
        a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
        and a[4] < b[5] + _HEADROOM_M and b[4] < a[5] + _HEADROOM_M
    )  # fmt: skip


def _box(points: Iterable[tuple[float, float, float]]) -> tuple[float, float, float, float, float, float]:
    x, y, z = zip(*points, strict=True)
    return min(x), max(x), min(y), max(y), min(z), max(z)


def _cells(box: tuple[float, float, float, float, float, float]) -> Iterator[tuple[int, int]]:
    for column in range(floor(box[0] / _CELL_M), floor(box[1] / _CELL_M) + 1):
        for row in range(floor(box[2] / _CELL_M), floor(box[3] / _CELL_M) + 1):
            yield column, row
