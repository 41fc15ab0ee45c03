"""How smoothly and how safely a vehicle was driven: comfort's limits, and the time to a collision."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from trainer.env.moment import Ego
from trainer.env.surroundings import Numbers, Others

# Source: nuPlan's comfort metrics, as CaRL (Jaeger et al. 2025) uses them. In m/s², m/s³, rad/s and rad/s².
_FORWARD_MIN, _FORWARD_MAX = -4.05, 2.40
_SIDEWARDS_MAX = 4.89
_JERK_MAX, _FORWARD_JERK_MAX = 8.37, 4.13
_YAW_RATE_MAX, _YAW_ACCELERATION_MAX = 0.95, 1.93
MEASURES = 6

_SMOOTH_S = 0.5  # over which differences are taken: single ticks are too rough
_LOOK_S, _LOOK_STEP_S = 1.0, 0.2
_STANDING_MPS = 0.1


class Comfort:
    """Which of the six limits were exceeded within the last `hold_s`."""

    def __init__(self, step_s: float, hold_s: float) -> None:
        self._lag = max(1, round(_SMOOTH_S / step_s))
        self._step_s = step_s
        self._hold = max(1, round(hold_s / step_s))
        self._motions: deque[tuple[float, float, float]] = deque(maxlen=2 * self._lag + 1)  # vx, vy, yaw
        self._steps = 0
        self._exceeded = [-self._hold - 1] * MEASURES

    def discomfort(self, ego: Ego) -> float:
        """The share of exceeded limits, in [0, 1], with this step's motion."""
        self._motions.append((ego.vx, ego.vy, ego.yaw_rad))
        self._steps += 1
        if len(self._motions) == self._motions.maxlen:
            for i, exceeds in enumerate(self._exceeding(ego.yaw_rad)):
                if exceeds:
                    self._exceeded[i] = self._steps
        return sum(self._steps - at < self._hold for at in self._exceeded) / MEASURES

    def _exceeding(self, yaw_rad: float) -> list[bool]:
        over_s = self._lag * self._step_s
        (ax, ay, a), (bx, by, b), (cx, cy, c) = (self._motions[i * self._lag] for i in range(3))
        early, late = ((bx - ax) / over_s, (by - ay) / over_s), ((cx - bx) / over_s, (cy - by) / over_s)
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        forward, sidewards = cos * late[0] + sin * late[1], cos * late[1] - sin * late[0]
        jerk = (late[0] - early[0]) / over_s, (late[1] - early[1]) / over_s
        rates = math.remainder(b - a, math.tau) / over_s, math.remainder(c - b, math.tau) / over_s
        return [
            not _FORWARD_MIN <= forward <= _FORWARD_MAX,
            abs(sidewards) > _SIDEWARDS_MAX,
            math.hypot(*jerk) > _JERK_MAX,
            abs(cos * jerk[0] + sin * jerk[1]) > _FORWARD_JERK_MAX,
            abs(rates[1]) > _YAW_RATE_MAX,
            abs(rates[1] - rates[0]) / over_s > _YAW_ACCELERATION_MAX,
        ]


def collision_is_near(ego: Ego, half_length_m: float, half_width_m: float, others: Others) -> bool:
    """Whether the ego's box meets another one within a second, if all go on straight as they go now."""
    if others.size == 0 or ego.speed_mps < _STANDING_MPS:
        return False
    times_s = np.arange(0.0, _LOOK_S + 1e-9, _LOOK_STEP_S)[1:, None]
    dx = (others.x - ego.x)[None] + times_s * (others.vx - ego.vx)[None]
    dy = (others.y - ego.y)[None] + times_s * (others.vy - ego.vy)[None]
    reach_m = math.hypot(half_length_m, half_width_m) + np.hypot(others.half_length_m, others.half_width_m)
    if not (dx * dx + dy * dy < reach_m**2).any():
        return False
    apart = _apart_along(dx, dy, ego.yaw_rad, half_length_m, half_width_m, others)
    return not bool(apart.all())


def _apart_along(
    dx: Numbers, dy: Numbers, yaw_rad: float, half_length_m: float, half_width_m: float, others: Others
) -> NDArray[np.bool_]:
    """Whether boxes are apart along one of their four axes, which is the test of separating axes."""
    cos, sin = np.cos(others.yaw_rad - yaw_rad), np.sin(others.yaw_rad - yaw_rad)
    forward, right = _turned(dx, dy, yaw_rad)
    theirs_forward, theirs_right = _turned(dx, dy, others.yaw_rad)
    length, width = others.half_length_m, others.half_width_m
    apart: NDArray[np.bool_] = (
        (np.abs(forward) > half_length_m + np.abs(cos) * length + np.abs(sin) * width)
        | (np.abs(right) > half_width_m + np.abs(sin) * length + np.abs(cos) * width)
        | (np.abs(theirs_forward) > length + np.abs(cos) * half_length_m + np.abs(sin) * half_width_m)
        | (np.abs(theirs_right) > width + np.abs(sin) * half_length_m + np.abs(cos) * half_width_m)
    )
    return apart


def _turned(dx: Numbers, dy: Numbers, yaw_rad: float | Numbers) -> tuple[Numbers, Numbers]:
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return cos * dx + sin * dy, cos * dy - sin * dx
