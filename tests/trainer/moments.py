"""Moments of an episode for tests: calm ones, of which a test changes what it is about."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trainer.env.ahead import NO_HAZARD, Ahead
from trainer.env.moment import Action, Ego, Moment
from trainer.env.route import Place, Route
from trainer.env.rules import LaneUse
from trainer.env.signals import Light
from trainer.env.surroundings import NOBODY, Others

EAST = Route([(0.0, 0.0), (100.0, 0.0)])
CALM_AHEAD = Ahead(math.inf, Light.GREEN, math.inf, NO_HAZARD, NO_HAZARD)
IN_LANE = LaneUse(False, False, False, 0.0, False)


def ego(x: float = 0.0, y: float = 0.0, yaw_deg: float = 0.0, speed_mps: float = 0.0) -> Ego:
    yaw_rad = math.radians(yaw_deg)
    velocity = speed_mps * math.cos(yaw_rad), speed_mps * math.sin(yaw_rad)
    return Ego(x, y, 0.0, yaw_rad, *velocity, speed_mps, 0.5, 1, 0.1)


def moment(vehicle: Ego | None = None, route: Route = EAST, near_m: float = 0.0, **changes: Any) -> Moment:
    """A vehicle on the route, with nobody around, and then the changes."""
    vehicle = vehicle or ego(x=near_m)
    place: Place = route.place(vehicle.x, vehicle.y, near_m)
    calm = Moment(
        vehicle,
        route,
        place,
        route.next_command(place.travelled_m),
        IN_LANE,
        NOBODY,
        CALM_AHEAD,
        Action(0.0, 0.0),
        0.0,
        0.0,
        8.0,
        None,
    )
    return calm._replace(**changes)


def others(*rows: tuple[int, float, float, float, float]) -> Others:
    """Boxes of 4 by 2 m: kind, x, y, yaw in degrees, speed along it."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    kinds, x, y, yaw_deg, speed = table.T
    yaw = np.radians(yaw_deg)
    ones = np.ones(len(rows))
    ids = list(range(100, 100 + len(rows)))
    velocity = speed * np.cos(yaw), speed * np.sin(yaw)
    return Others(ids, kinds.astype(np.int64), x, y, ones, yaw, *velocity, 2 * ones, ones, ones)
