"""Pavements around a junction's corners, for maps that end them where the junction begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import acos, ceil, radians
from typing import TYPE_CHECKING

import numpy as np

from carlad.standin.navigation.pavements import PIECE_M, Points, Section, Strip

if TYPE_CHECKING:
    import carla

_REACH_M = 40.0  # from one end to the other
_MET_M = 0.5  # ends this close meet without a corner
_TURN_RAD = radians(18.0)  # of one straight piece
_HANDLE = 0.552  # of the way ahead: makes a quarter turn nearly a circle's
_SPACING_M = 0.3
_PROBES = np.linspace(0.05, 0.95, 13)


@dataclass(frozen=True)
class _End:
    """Where a pavement ends: float64 (3,) points of both borders, and the unit vector on from there."""

    inner: Points
    outer: Points
    onwards: Points

    @property
    def middle(self) -> Points:
        return (self.inner + self.outer) / 2


def corners(town_map: carla.Map, pavements: Iterable[Section]) -> Iterator[Strip]:
    """A strip from each loose end at a junction to the nearest one that is reached beside the driving lanes.

    Every end is used once, the shortest ways come first.
    """
    inside: dict[str, list[_End]] = defaultdict(list)
    leading: dict[str, list[_End]] = defaultdict(list)
    for section in pavements:
        for strip in (*section.left, *section.right):
            start, end = _end(strip.inner, strip.outer), _end(strip.inner[::-1], strip.outer[::-1])
            if section.junction_id is not None:
                inside[section.junction_id] += [start, end]
            if section.starts_in is not None:
                leading[section.starts_in].append(start)
            if section.ends_in is not None:
                leading[section.ends_in].append(end)
    for junction, ends in leading.items():
        loose = [end for end in ends if all(_apart(end, other) > _MET_M for other in inside[junction])]
        yield from _joined(town_map, loose)


def _end(inner: Points, outer: Points) -> _End:
    """The end at which both lines begin."""
    onwards = inner[0] - inner[1] + outer[0] - outer[1]
    return _End(inner[0], outer[0], onwards / np.linalg.norm(onwards))


def _apart(one: _End, other: _End) -> float:
    return float(np.linalg.norm(one.middle - other.middle))


def _joined(town_map: carla.Map, ends: list[_End]) -> Iterator[Strip]:
    pairs = sorted(combinations(range(len(ends)), 2), key=lambda pair: _apart(ends[pair[0]], ends[pair[1]]))
    free = set(range(len(ends)))
    for i, j in pairs:
        one, other = ends[i], ends[j]
        if {i, j} <= free and _MET_M < _apart(one, other) < _REACH_M and _is_walkable(town_map, one, other):
            free -= {i, j}
            share = np.linspace(0.0, 1.0, _pieces(one, other) + 1)
            yield Strip(
                _spaced(_curve(one.inner, one.onwards, other.inner, other.onwards, share)),
                _spaced(_curve(one.outer, one.onwards, other.outer, other.onwards, share)),
            )


def _is_walkable(town_map: carla.Map, one: _End, other: _End) -> bool:
    """Whether the way between two ends keeps off the driving lanes."""
    import carla

    way = _curve(one.middle, one.onwards, other.middle, other.onwards, _PROBES)
    return all(
        town_map.get_waypoint(carla.Location(x, y, z), False, carla.LaneType.Driving) is None
        for x, y, z in way.tolist()
    )


def _pieces(one: _End, other: _End) -> int:
    cosine = float(np.clip(-one.onwards @ other.onwards, -1.0, 1.0))
    return max(1, ceil(acos(cosine) / _TURN_RAD), ceil(_apart(one, other) / PIECE_M))


def _curve(begin: Points, leaving: Points, end: Points, arriving: Points, share: Points) -> Points:
    """Points of a cubic Bezier curve at the given parameters: float64 (n, 3).

    `arriving` points from the end back into the curve, as `leaving` does from its begin. Where one of them
    points away from the other end, the curve sets out straight towards it instead of making a loop.
    """
    chord = end - begin
    ahead, behind = max(0.0, float(chord @ leaving)), max(0.0, float(-chord @ arriving))
    a, b, c, d = begin, begin + _HANDLE * ahead * leaving, end + _HANDLE * behind * arriving, end
    u = share[:, None]
    curve: Points = a * (1 - u) ** 3 + b * 3 * u * (1 - u) ** 2 + c * 3 * u**2 * (1 - u) + d * u**3
    return curve


def _spaced(curve: Points) -> Points:
    """The curve with points that crowd together made one: a tight corner turns about a single point."""
    spaced = curve.copy()
    for k in range(1, len(curve) - 1):
        before, end = spaced[k - 1], curve[-1]
        if any(float(np.linalg.norm(spaced[k] - point)) < _SPACING_M for point in (before, end)):
            spaced[k] = before
    return spaced
