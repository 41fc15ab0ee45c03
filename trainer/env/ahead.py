"""What a driver has to heed on the way ahead: lights, stop signs, vehicles and walkers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.env.route import Place, Route
from trainer.env.signals import Light, RouteSignals, StopLine, StopZone
from trainer.env.surroundings import WALKER, Others

WAITING_WITHIN_M = 15.0  # of a red light, a stop sign or somebody, who stands does right
SEEN_M = 50.0  # what is farther along the route counts for nothing
_HALF_WIDTH_M = 1.0  # of the ego vehicle
_VEHICLE_MARGIN_M, _WALKER_MARGIN_M = 0.3, 1.0  # beside it, that is kept free


class Hazard(NamedTuple):
    """The nearest one in the way: from the ego's centre along the route, and how fast it moves along it."""

    distance_m: float
    speed_mps: float


NO_HAZARD = Hazard(math.inf, 0.0)


class Ahead(NamedTuple):
    """Distances are along the route from the vehicle's centre; infinite where there is nothing."""

    light_m: float
    light: Light
    stop_m: float
    vehicle: Hazard
    walker: Hazard


class Lookout:
    """Looks along one route."""

    def __init__(self, route: Route, signals: RouteSignals, state: Callable[[int], Light]) -> None:
        self._route = route
        self._state = state
        self._lines_m = [at_m for at_m, _ in signals.lines]
        self._lines: list[StopLine] = [line for _, line in signals.lines]
        self._zones_m = [at_m for at_m, _ in signals.zones]
        self._zones: list[StopZone] = [zone for _, zone in signals.zones]

    def look(self, place: Place, others: Others, heeded: int | None) -> Ahead:
        """`heeded`: the stop sign that has been heeded just now."""
        light_m, light = self._next_light(place.travelled_m)
        vehicle, walker = (NO_HAZARD, NO_HAZARD) if others.size == 0 else self._hazards(place, others)
        return Ahead(light_m, light, self._next_stop(place.travelled_m, heeded), vehicle, walker)

    def _next_light(self, travelled_m: float) -> tuple[float, Light]:
        i = bisect_left(self._lines_m, travelled_m)
        if i == len(self._lines_m) or self._lines_m[i] - travelled_m > SEEN_M:
            return math.inf, Light.GREEN
        return self._lines_m[i] - travelled_m, self._state(self._lines[i].light)

    def _next_stop(self, travelled_m: float, heeded: int | None) -> float:
        i = bisect_left(self._zones_m, travelled_m)
        if i < len(self._zones) and self._zones[i].sign == heeded:
            i += 1
        if i == len(self._zones) or self._zones_m[i] - travelled_m > SEEN_M:
            return math.inf
        return self._zones_m[i] - travelled_m

    def _hazards(self, place: Place, others: Others) -> tuple[Hazard, Hazard]:
        route, first = self._route, int(place.travelled_m)
        xy = route.xy[first : first + int(SEEN_M)]
        away = np.hypot(others.x[:, None] - xy[None, :, 0], others.y[:, None] - xy[None, :, 1])
        nearest = away.argmin(1)
        heading = route.headings_rad[np.minimum(first + nearest, len(route.headings_rad) - 1)]
        turned = others.yaw_rad - heading
        reach_m = np.abs(np.cos(turned)) * others.half_width_m + np.abs(np.sin(turned)) * others.half_length_m
        margin_m = np.where(others.kinds == WALKER, _WALKER_MARGIN_M, _VEHICLE_MARGIN_M)
        across_m = away[np.arange(len(nearest)), nearest]
        in_way = (across_m < reach_m + _HALF_WIDTH_M + margin_m) & (nearest > 0)
        along_mps = np.cos(heading) * others.vx + np.sin(heading) * others.vy
        return (
            _nearest(in_way & (others.kinds != WALKER), nearest, along_mps),
            _nearest(in_way & (others.kinds == WALKER), nearest, along_mps),
        )


def _nearest(chosen: NDArray[Any], distance_m: NDArray[Any], along_mps: NDArray[Any]) -> Hazard:
    found = np.flatnonzero(chosen)
    if len(found) == 0:
        return NO_HAZARD
    i = found[distance_m[found].argmin()]
    return Hazard(float(distance_m[i]), float(along_mps[i]))


def must_wait(ahead: Ahead, within_m: float) -> bool:
    """Whether standing is right: a red or yellow light, a stop sign or somebody is that near."""
    light = ahead.light is not Light.GREEN and ahead.light_m < within_m
    return light or min(ahead.stop_m, ahead.vehicle.distance_m, ahead.walker.distance_m) < within_m
