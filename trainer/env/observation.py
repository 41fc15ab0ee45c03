"""The `state` observation of Route-v0."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.env.route import Place, Route

LOOKAHEAD_M = (2.0, 4.0, 7.0, 10.0, 14.0, 18.0, 24.0, 30.0)
SIZE = 8 + 2 * len(LOOKAHEAD_M)

_SPEED_MPS, _LATERAL_M, _YAW_RATE_RADPS, _DISTANCE_M = 10.0, 2.5, 1.0, 30.0  # what counts as 1
_LIMIT = 5.0


class Ego(NamedTuple):
    """The driven vehicle after a tick, in CARLA's frame: metres, radians from x towards y, seconds."""

    x: float
    y: float
    yaw_rad: float
    speed_mps: float
    yaw_rate_radps: float
    frame: int
    sim_time_s: float


def state(ego: Ego, route: Route, place: Place, steer: float, acceleration: float) -> NDArray[np.float32]:
    """float32 (SIZE,), each about in [-1, 1] and clipped to [-5, 5]:

    0 speed / 10 m/s; 1 yaw rate / 1 rad/s, positive to the right; 2 lateral offset from the route / 2.5 m,
    positive to the right; 3, 4 sine and cosine of the heading against the route's; 5 distance to the goal,
    at most 30 m, / 30 m; 6, 7 the last action; then for each LOOKAHEAD_M the route's point that far ahead, in
    the ego frame (x forward, y right) / 30 m.
    """
    error_rad = ego.yaw_rad - place.heading_rad
    values = [
        ego.speed_mps / _SPEED_MPS,
        ego.yaw_rate_radps / _YAW_RATE_RADPS,
        place.lateral_m / _LATERAL_M,
        math.sin(error_rad),
        math.cos(error_rad),
        min(route.length_m - place.travelled_m, _DISTANCE_M) / _DISTANCE_M,
        steer,
        acceleration,
    ]
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    for distance_m in LOOKAHEAD_M:
        x, y = route.point(place.travelled_m + distance_m)
        dx, dy = x - ego.x, y - ego.y
        values.append((cos * dx + sin * dy) / _DISTANCE_M)
        values.append((cos * dy - sin * dx) / _DISTANCE_M)
    return np.array([min(max(value, -_LIMIT), _LIMIT) for value in values], np.float32)
