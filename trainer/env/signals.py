"""What stands at the roads of a town: traffic lights with their stop lines, stop signs with their zones."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import carla
import numpy as np

from trainer.env.route import Route

_ON_ROUTE_M = 1.5  # between a stop line's or a zone's centre and the route that it rules
_ALONG_COS = 0.5  # a line is the route's own if they run within 60 degrees of each other


class Light(enum.IntEnum):
    """What a traffic light shows."""

    GREEN = 0
    YELLOW = 1
    RED = 2


class StopLine(NamedTuple):
    """Across one lane, in CARLA's frame; `heading_rad` is the lane's."""

    light: int
    x: float
    y: float
    heading_rad: float
    half_width_m: float


class StopZone(NamedTuple):
    """Where a stop sign wants vehicles to stand: a box, of which `heading_rad` is the lane's there."""

    sign: int
    x: float
    y: float
    heading_rad: float
    half_length_m: float
    half_width_m: float

    def holds(self, x: float, y: float) -> bool:
        """Whether the place is inside."""
        dx, dy = x - self.x, y - self.y
        cos, sin = math.cos(self.heading_rad), math.sin(self.heading_rad)
        along, across = cos * dx + sin * dy, cos * dy - sin * dx
        return abs(along) <= self.half_length_m and abs(across) <= self.half_width_m


class Signals:
    """All of a world's. Lights' states are read from the last tick, without a call."""

    def __init__(self, world: Any, carla_map: Any) -> None:
        actors = world.get_actors()
        self.lights = {light.id: light for light in actors.filter("traffic.traffic_light*")}
        self.lines = [line for light in self.lights.values() for line in _lines(light)]
        self.zones = [_zone(sign, carla_map) for sign in actors.filter("traffic.stop*")]

    def state(self, light: int) -> Light:
        """What the light shows; one that is switched off or broken stops nobody."""
        shown = self.lights[light].state
        if shown == carla.TrafficLightState.Red:
            return Light.RED
        return Light.YELLOW if shown == carla.TrafficLightState.Yellow else Light.GREEN


class RouteSignals(NamedTuple):
    """Those that a route passes, each with how far along it, ascending."""

    lines: list[tuple[float, StopLine]]
    zones: list[tuple[float, StopZone]]


def on_route(route: Route, lines: Sequence[StopLine], zones: Sequence[StopZone]) -> RouteSignals:
    """The stop lines and zones that hold for whoever drives the route."""
    return RouteSignals(_passed(route, lines), _passed(route, zones))


def _passed(route: Route, signs: Sequence[Any]) -> list[tuple[float, Any]]:
    places = np.array([(sign.x, sign.y) for sign in signs]).reshape(-1, 2)
    found = []
    for i, at_m in zip(*route.project(places, _ON_ROUTE_M), strict=True):
        heading = route.headings_rad[min(int(at_m), len(route.headings_rad) - 1)]
        if math.cos(signs[i].heading_rad - heading) > _ALONG_COS:
            found.append((float(at_m), signs[i]))
    return sorted(found, key=lambda each: each[0])


def _lines(light: Any) -> Iterable[StopLine]:
    for waypoint in light.get_stop_waypoints():
        place, yaw_deg = waypoint.transform.location, waypoint.transform.rotation.yaw
        yield StopLine(light.id, place.x, place.y, math.radians(yaw_deg), waypoint.lane_width / 2)


def _zone(sign: Any, carla_map: Any) -> StopZone:
    volume = sign.trigger_volume
    centre = sign.get_transform().transform(volume.location)
    lane = carla_map.get_waypoint(centre)
    half_m = max(volume.extent.x, volume.extent.y)  # some of CARLA's are as thin as a line one way
    heading_rad = math.radians(lane.transform.rotation.yaw)
    return StopZone(sign.id, centre.x, centre.y, heading_rad, half_m, half_m)
