"""A planned route: where it goes, and where on it a vehicle is.

Coordinates are CARLA's: metres, x forward (east), y right (south), headings in radians from x towards y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

SPACING_M = 1.0  # between a route's points: fine enough for a turn of 6 m radius
_PLAN_STEP_M = 1.5
_SEARCH_BACK, _SEARCH_AHEAD = 3, 8  # points around the last place that a tick can reach (8 m in 0.1 s)


class Place(NamedTuple):
    """Where a vehicle is on a route."""

    travelled_m: float
    """Along the route from its start to the nearest point."""
    lateral_m: float
    """From the route to the vehicle, positive to the right."""
    heading_rad: float
    """The route's direction there."""


class Route:
    """A polyline of equidistant points."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        """`points`: two at least, any distances. Raises ValueError for a route without length."""
        xy = np.asarray(points, np.float64)
        travelled = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))))
        segments = int(travelled[-1] / SPACING_M)
        if segments < 1:
            raise ValueError(f"cannot make a route of {travelled[-1]:.2f} m: it needs {SPACING_M} m at least")
        at = np.arange(segments + 1) * SPACING_M
        self.x: list[float] = np.interp(at, travelled, xy[:, 0]).tolist()
        self.y: list[float] = np.interp(at, travelled, xy[:, 1]).tolist()
        self.length_m = segments * SPACING_M

    def place(self, x: float, y: float, near_m: float) -> Place:
        """The nearest point of the route, searched around `near_m` only: a route may cross itself."""
        near = int(near_m / SPACING_M)
        first = max(0, min(near - _SEARCH_BACK, len(self.x) - 2))
        last = min(near + _SEARCH_AHEAD, len(self.x) - 1)
        best = math.inf
        place = Place(near_m, math.inf, 0.0)
        for i in range(first, last):
            ax, ay = self.x[i], self.y[i]
            ux, uy = (self.x[i + 1] - ax) / SPACING_M, (self.y[i + 1] - ay) / SPACING_M
            along = min(max((x - ax) * ux + (y - ay) * uy, 0.0), SPACING_M)
            away = (x - ax - along * ux) ** 2 + (y - ay - along * uy) ** 2
            if away < best:
                best = away
                lateral = (y - ay) * ux - (x - ax) * uy
                place = Place(
                    i * SPACING_M + along, math.copysign(math.sqrt(away), lateral), math.atan2(uy, ux)
                )
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

    def ahead(self, travelled_m: float) -> list[tuple[float, float]]:
        """The points that are still ahead."""
        first = math.ceil(travelled_m / SPACING_M)
        return list(zip(self.x[first:], self.y[first:], strict=True))


def plan(start: Any, length_m: float, rng: np.random.Generator) -> Route | None:
    """A route of about `length_m` from a `carla.Waypoint`, along its lane and any way at each junction.

    None where the road ends before that.
    """
    waypoints = [start]
    for _ in range(math.ceil(length_m / _PLAN_STEP_M)):
        choices = waypoints[-1].next(_PLAN_STEP_M)
        if not choices:
            return None
        waypoints.append(choices[int(rng.integers(len(choices)))])
    locations = [waypoint.transform.location for waypoint in waypoints]
    return Route([(location.x, location.y) for location in locations])
