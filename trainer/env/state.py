"""The observation's vectors: `state` in three kinds, and `truth`, which is more than a driver could see."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainer.env.ahead import SEEN_M
from trainer.env.moment import Moment
from trainer.env.route import RoadOption
from trainer.env.signals import Light
from trainer.env.surroundings import WALKER

Vector = NDArray[np.float32]

LOOKAHEAD_M = (2, 4, 7, 10, 14, 18, 24, 30)
ROUTE_SIZE = 8 + 2 * len(LOOKAHEAD_M) + 8 + len(RoadOption) + 1
CARL_SIZE, ROACH_SIZE = 8, 6
TRUTH_PER_ACTOR = 10

_SPEED_MPS, _LATERAL_M, _YAW_RATE_RADPS, _DISTANCE_M = 10.0, 2.5, 1.0, 30.0  # what counts as 1
LIMIT = 5.0
_ONE_HOT = {option: tuple(float(option is other) for other in RoadOption) for option in RoadOption}
SPEED_LIMIT = 100.0  # m/s, of the vectors that are not scaled


def route_state(moment: Moment) -> Vector:
    """float32 (ROUTE_SIZE,), each about in [-1, 1] and clipped to [-5, 5]:

    0 speed / 10 m/s; 1 yaw rate / 1 rad/s, positive to the right; 2 lateral offset from the route / 2.5 m,
    positive to the right; 3, 4 sine and cosine of the heading against the route's; 5 distance to the goal,
    at most 30 m, / 30 m; 6, 7 the last action; then for each LOOKAHEAD_M the route's point that far ahead, in
    the ego frame (x forward, y right) / 30 m, beyond the route's end straight on.

    Then what is ahead on the route, distances / 50 m and 1 where there is nothing: 24 the next stop line of a
    light, 25 and 26 whether it shows yellow or red; 27 the next stop sign that has not been heeded; 28, 29
    the vehicle or thing in the way and its speed along the route / 10 m/s; 30, 31 the same for walkers. 32 to
    37 the command that holds or comes next, one-hot in RoadOption's order; 38 how far it is, / 50 m.
    """
    ego, route, place, ahead = moment.ego, moment.route, moment.place, moment.ahead
    travelled_m = place.travelled_m
    error_rad = ego.yaw_rad - place.heading_rad
    command = moment.command
    values = [
        ego.speed_mps / _SPEED_MPS,
        ego.yaw_rate_radps / _YAW_RATE_RADPS,
        place.lateral_m / _LATERAL_M,
        math.sin(error_rad),
        math.cos(error_rad),
        min(route.length_m - travelled_m, _DISTANCE_M) / _DISTANCE_M,
        *moment.action,
    ]
    cos, sin = math.cos(ego.yaw_rad) / _DISTANCE_M, math.sin(ego.yaw_rad) / _DISTANCE_M
    for x, y in route.points_ahead(travelled_m, LOOKAHEAD_M):
        dx, dy = x - ego.x, y - ego.y
        values += (cos * dx + sin * dy, cos * dy - sin * dx)
    values += (
        _share(ahead.light_m),
        ahead.light is Light.YELLOW,
        ahead.light is Light.RED,
        _share(ahead.stop_m),
        _share(ahead.vehicle.distance_m),
        ahead.vehicle.speed_mps / _SPEED_MPS,
        _share(ahead.walker.distance_m),
        ahead.walker.speed_mps / _SPEED_MPS,
    )
    values += _ONE_HOT[command.option]
    values.append(_share(max(command.from_m - travelled_m, 0.0)))
    found = np.array(values, np.float32)
    np.maximum(found, -LIMIT, out=found)
    return np.minimum(found, LIMIT, out=found)


def carl_state(moment: Moment) -> Vector:
    """float32 (8,): steering, throttle and brake as applied, the gear (1, or -1 for reverse), velocity
    forward and to the right, forward speed, the speed limit, all in m/s. Source: CaRL (Jaeger et al.
    2025)."""
    forward, right = _ego_velocity(moment)
    steer, acceleration = moment.action
    pedals = max(acceleration, 0.0), max(-acceleration, 0.0)
    values = steer, *pedals, 1.0, forward, right, forward, moment.speed_limit_mps
    return np.array(values, np.float32).clip(-SPEED_LIMIT, SPEED_LIMIT)


def roach_state(moment: Moment) -> Vector:
    """float32 (6,): throttle, steering, brake, the gear, velocity forward and to the right in m/s. Source:
    Roach (Zhang et al. 2021)."""
    forward, right = _ego_velocity(moment)
    steer, acceleration = moment.action
    values = max(acceleration, 0.0), steer, max(-acceleration, 0.0), 1.0, forward, right
    return np.array(values, np.float32).clip(-SPEED_LIMIT, SPEED_LIMIT)


def truth(moment: Moment, actors: int) -> Vector:
    """float32 (actors * 10,): the nearest others, nearest first, rows of zeros where there are fewer.

    A row: 1; x and y in the ego frame (forward, right) / 50 m; cosine and sine of its heading there; its
    velocity there / 10 m/s; half its length and width / 5 m; 1 for a walker. Clipped to [-5, 5].
    """
    table = np.zeros((actors, TRUTH_PER_ACTOR), np.float32)
    others, ego = moment.others, moment.ego
    if others.size:
        dx, dy = others.x - ego.x, others.y - ego.y
        nearest = np.argsort(dx * dx + dy * dy, kind="stable")[:actors]
        cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
        turned = others.yaw_rad[nearest] - ego.yaw_rad
        columns = (
            np.ones(len(nearest)),
            (cos * dx + sin * dy)[nearest] / SEEN_M,
            (cos * dy - sin * dx)[nearest] / SEEN_M,
            np.cos(turned),
            np.sin(turned),
            (cos * others.vx + sin * others.vy)[nearest] / _SPEED_MPS,
            (cos * others.vy - sin * others.vx)[nearest] / _SPEED_MPS,
            others.half_length_m[nearest] / 5.0,
            others.half_width_m[nearest] / 5.0,
            others.kinds[nearest] == WALKER,
        )
        table[: len(nearest)] = np.stack(columns, axis=1).clip(-LIMIT, LIMIT)
    return table.ravel()


def _share(distance_m: float) -> float:
    return min(distance_m, SEEN_M) / SEEN_M


def _ego_velocity(moment: Moment) -> tuple[float, float]:
    ego = moment.ego
    cos, sin = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    return cos * ego.vx + sin * ego.vy, cos * ego.vy - sin * ego.vx
