"""A planned route: where it goes, what it asks for, and where on it a vehicle is.

Coordinates are CARLA's: metres, x forward (east), y right (south), headings in radians from x towards y.
"""

from __future__ import annotations

import enum
import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SPACING_M = 1.0  # between a route's points: fine enough for a turn of 6 m radius
_SEEN_AHEAD = 100  # points that may be asked for at once
_SEARCH_BACK, _SEARCH_AHEAD = 3, 10  # points around the last place that a step can reach


class RoadOption(enum.IntEnum):
    """What a stretch of a route asks of its driver; numbered for one-hot vectors."""

    FOLLOW = 0
    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3
    CHANGE_LEFT = 4
    CHANGE_RIGHT = 5


class Command(NamedTuple):
    """A stretch of a route on which more is asked than to follow the lane."""

    option: RoadOption
    from_m: float
    to_m: float


class Place(NamedTuple):
    """Where a vehicle is on a route."""

    travelled_m: float
    """Along the route from its start to the nearest point."""
    lateral_m: float
    """From the route to the vehicle, positive to the right."""
    heading_rad: float
    """The route's direction there."""


class Route:
    """A polyline of equidistant points with the commands along it."""

    def __init__(self, points: Any, options: Any = ()) -> None:
        """`points` (N, 2): two at least, any distances; `options` (N,): what is asked from each to the next.

        Raises ValueError for a route without length.
        """
        xy = np.asarray(points, np.float64)
        travelled = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))))
        segments = int(travelled[-1] / SPACING_M)
        if segments < 1:
            raise ValueError(f"cannot make a route of {travelled[-1]:.2f} m: it needs {SPACING_M} m at least")
        at = np.arange(segments + 1) * SPACING_M
        self.xy: NDArray[np.float64] = np.stack(
            [np.interp(at, travelled, xy[:, 0]), np.interp(at, travelled, xy[:, 1])], axis=1
        )
        beyond = np.arange(1, _SEEN_AHEAD + 3)[:, None] * (self.xy[-1] - self.xy[-2])
        ahead = np.concatenate([self.xy, self.xy[-1] + beyond])
        self._ahead: list[tuple[float, float, float, float]] = np.concatenate(
            [ahead[:-1], np.diff(ahead, axis=0)], axis=1
        ).tolist()
        self.x: list[float] = self.xy[:, 0].tolist()
        self.y: list[float] = self.xy[:, 1].tolist()
        self.length_m = segments * SPACING_M
        self.headings_rad: NDArray[np.float64] = np.arctan2(*np.diff(self.xy, axis=0).T[::-1])
        self._headings: list[float] = self.headings_rad.tolist()
        self.commands = _commands(travelled, options, self.length_m)
        self._command_ends = [command.to_m for command in self.commands]

    def place(self, x: float, y: float, near_m: float) -> Place:
        """The nearest point of the route, searched around `near_m` only: a route may cross itself."""
        xs, ys = self.x, self.y
        near = int(near_m)
        first = max(0, min(near - _SEARCH_BACK, len(xs) - 2))
        last = min(near + _SEARCH_AHEAD, len(xs) - 1)
        best, nearest = math.inf, first
        for i in range(first, last + 1):
            dx, dy = x - xs[i], y - ys[i]
            away = dx * dx + dy * dy
            if away < best:
                best, nearest = away, i
        best, place = math.inf, Place(near_m, math.inf, 0.0)
        for i in range(max(nearest - 1, 0), min(nearest + 1, len(xs) - 1)):
            ax, ay = xs[i], ys[i]
            ux, uy = xs[i + 1] - ax, ys[i + 1] - ay  # of SPACING_M, or less in a curve
            along = min(max(((x - ax) * ux + (y - ay) * uy) / (ux * ux + uy * uy), 0.0), 1.0)
            away = math.hypot(x - ax - along * ux, y - ay - along * uy)
            if away < best:
                best = away
                lateral = math.copysign(away, (y - ay) * ux - (x - ax) * uy)
                place = Place((i + along) * SPACING_M, lateral, self._headings[i])
        return place

    def point(self, travelled_m: float) -> tuple[float, float]:
        """The route's point there; beyond its end, its end."""
        at = min(max(travelled_m, 0.0), self.length_m) / SPACING_M
        i = min(int(at), len(self.x) - 2)
        part = at - i
        return (
            self.x[i] + part * (self.x[i + 1] - self.x[i]),
            self.y[i] + part * (self.y[i + 1] - self.y[i]),
        )

    def points_ahead(self, travelled_m: float, distances: Iterable[int]) -> list[tuple[float, float]]:
        """The points so many whole metres ahead, up to 100; beyond the route's end straight on, so that it
        looks like any other place: a goal where all points meet is a sight that no driver knows."""
        at = min(max(travelled_m, 0.0), self.length_m)
        i = int(at)
        part = at - i
        ahead = self._ahead
        return [
            (x + part * dx, y + part * dy) for x, y, dx, dy in [ahead[i + distance] for distance in distances]
        ]

    def ahead(self, travelled_m: float) -> list[tuple[float, float]]:
        """The points that are still ahead."""
        first = math.ceil(travelled_m / SPACING_M)
        return list(zip(self.x[first:], self.y[first:], strict=True))

    def next_command(self, travelled_m: float) -> Command:
        """The command that holds there, else the next one; at the end, to follow the lane to it."""
        i = bisect_right(self._command_ends, travelled_m)
        if i < len(self.commands):
            return self.commands[i]
        return Command(RoadOption.FOLLOW, self.length_m, self.length_m)

    def project(
        self, xy: NDArray[np.float64], within_m: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which of the points (N, 2) are near the route, and how far along it each of those is."""
        if len(xy) == 0:
            return np.empty(0, np.int64), np.empty(0)
        away = np.linalg.norm(xy[:, None] - self.xy[None], axis=2)
        nearest = away.argmin(1)
        chosen = np.flatnonzero(away[np.arange(len(xy)), nearest] <= within_m)
        return chosen, nearest[chosen] * SPACING_M


def _commands(travelled: NDArray[np.float64], options: Any, length_m: float) -> list[Command]:
    """The stretches of equal options, without those that only follow the lane."""
    wanted = np.asarray(options, np.int64)[: len(travelled) - 1]
    borders = [0, *(np.flatnonzero(np.diff(wanted)) + 1).tolist(), len(wanted)]
    stretches = (
        Command(RoadOption(wanted[first]), float(travelled[first]), min(float(travelled[last]), length_m))
        for first, last in itertools.pairwise(borders)
        if first < last
    )
    return [each for each in stretches if each.option is not RoadOption.FOLLOW and each.from_m < length_m]
