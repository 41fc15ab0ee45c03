"""Crosswalks: those that a map draws, or plausible ones at its junctions; each reaches from kerb to kerb."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import hypot
from typing import TYPE_CHECKING

import numpy as np

from carlad.standin.navigation.convex import Point, Polygon, between, edges, hull
from carlad.standin.navigation.patchwork import Area, Patchwork
from carlad.standin.navigation.pavements import FAR_M, Points, Section, Strip

if TYPE_CHECKING:
    import carla

_LIMIT_M = 6.0  # from a crosswalk's end to the pavement: shoulder, parking lane, inset
_INTO_PAVEMENT_M = 0.3
_OPPOSITE = -0.8  # cosine between the directions of two ends
_CLOSED_M = 0.01

# Drawn crosswalks lie beyond the stop line, which is about 1 m before a road's end.
_BEFORE_END_M = 0.5
_BEYOND_END_M = 2.5


def drawn(town_map: carla.Map) -> Iterator[Polygon]:
    """The outlines in the map's OpenDRIVE objects; the map library lists them one after another, closed."""
    outline: list[Point] = []
    for place in town_map.get_crosswalks():
        point = (place.x, place.y, place.z)
        outline.append(point)
        if len(outline) > 2 and _distance(point, outline[0]) < _CLOSED_M:
            if all(abs(coordinate) < FAR_M for corner in outline for coordinate in corner):
                yield hull(outline[:-1])
            outline = []


def plausible(pavements: Iterable[Section]) -> Iterator[Polygon]:
    """A crosswalk before every junction, on each road that has pavements on both sides."""
    for section in pavements:
        roadway = section.roadway
        if roadway is None or section.junction_id is not None:
            continue
        if section.starts_in is not None:
            yield _across(roadway)
        if section.ends_in is not None:
            yield _across(Strip(roadway.inner[::-1], roadway.outer[::-1]))


def _across(roadway: Strip) -> Polygon:
    """A crosswalk at the end at which the roadway's lines begin."""
    one, other = roadway.inner[0], roadway.outer[0]
    onwards = one - roadway.inner[1] + other - roadway.outer[1]
    onwards = onwards / np.linalg.norm(onwards)
    back, forth = -_BEFORE_END_M * onwards, _BEYOND_END_M * onwards
    return hull([_point(corner) for corner in (one + back, other + back, other + forth, one + forth)])


def reaching_pavements(crosswalk: Polygon, patchwork: Patchwork) -> Polygon:
    """The crosswalk made longer at the two opposite ends from which pavements are nearest."""
    ends = list(edges(crosswalk))
    depths = [_depth(between(a, b, 0.5), _outwards(a, b), patchwork) for a, b in ends]
    pairs = [
        (depths[i] + depths[j], i, j)
        for i in range(len(ends))
        for j in range(i)
        if _cosine(ends[i], ends[j]) < _OPPOSITE and min(depths[i], depths[j]) < _LIMIT_M
    ]
    if not pairs:
        return crosswalk
    _, i, j = min(pairs)
    return hull([*crosswalk, *_moved_out(*ends[i], patchwork), *_moved_out(*ends[j], patchwork)])


def _depth(origin: Point, outwards: tuple[float, float], patchwork: Patchwork) -> float:
    """How far the pavement is from a place, m; the limit where there is none."""
    depth = patchwork.reach(origin, outwards, _LIMIT_M, Area.SIDEWALK)
    return _LIMIT_M if depth is None else depth


def _moved_out(a: Point, b: Point, patchwork: Patchwork) -> list[Point]:
    """The corners of an end where they are just inside the pavement; where only one meets it, as far out."""
    x, y = _outwards(a, b)
    depths = [_depth(corner, (x, y), patchwork) for corner in (a, b)]
    known = [depth for depth in depths if depth < _LIMIT_M]
    return [
        (corner[0] + x * far, corner[1] + y * far, corner[2])
        for corner, depth in zip((a, b), depths, strict=True)
        if known
        for far in [min(depth, max(known)) + _INTO_PAVEMENT_M]
    ]


def _outwards(a: Point, b: Point) -> tuple[float, float]:
    """Unit normal of an edge of a polygon that runs counter-clockwise as seen from above."""
    length = _distance(a, b) or 1.0
    return (a[1] - b[1]) / length, (b[0] - a[0]) / length


def _cosine(one: tuple[Point, Point], other: tuple[Point, Point]) -> float:
    first, second = _outwards(*one), _outwards(*other)
    return first[0] * second[0] + first[1] * second[1]


def _distance(a: Point, b: Point) -> float:
    return hypot(b[0] - a[0], b[1] - a[1])


def _point(array: Points) -> Point:
    x, y, z = array.tolist()
    return x, y, z
