"""How well an episode was driven: infractions, and CARLA Leaderboard's driving score by two of its versions.

Source of the weights and formulas: leaderboard.carla.org, Leaderboard 2.0 (a product of factors) and 2.1 (one
over a sum). The scenarios of the Leaderboard are not played here, so that its time-outs, its emergency
vehicles and its minimum speed never count.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Infraction(enum.Enum):
    """What is counted. The first five weigh in both scores; the others are told and weigh nothing."""

    COLLISION_PEDESTRIAN = "collision_pedestrian"
    COLLISION_VEHICLE = "collision_vehicle"
    COLLISION_STATIC = "collision_static"
    RED_LIGHT = "red_light"
    STOP_SIGN = "stop_sign"
    OUTSIDE_LANES = "outside_lanes"
    """Leaving the driving lanes of its direction; the scores take the share of the way driven there."""
    SOLID_LINE = "solid_line"


_FACTORS_2_0 = {
    Infraction.COLLISION_PEDESTRIAN: 0.5,
    Infraction.COLLISION_VEHICLE: 0.6,
    Infraction.COLLISION_STATIC: 0.65,
    Infraction.RED_LIGHT: 0.7,
    Infraction.STOP_SIGN: 0.8,
}
_SUMMANDS_2_1 = {
    Infraction.COLLISION_PEDESTRIAN: 1.0,
    Infraction.COLLISION_VEHICLE: 0.7,
    Infraction.COLLISION_STATIC: 0.6,
    Infraction.RED_LIGHT: 0.4,
    Infraction.STOP_SIGN: 0.25,
}


def driving_score_2_0(
    route_completion: float, counts: Mapping[Infraction, int], outside_share: float
) -> float:
    """In [0, 100]. `route_completion` and `outside_share`, of the way, in [0, 1]."""
    penalty = 1.0 - outside_share
    for kind, factor in _FACTORS_2_0.items():
        penalty *= factor ** counts.get(kind, 0)
    return 100.0 * route_completion * penalty


def driving_score_2_1(
    route_completion: float, counts: Mapping[Infraction, int], outside_share: float
) -> float:
    """As `driving_score_2_0`."""
    total = sum(summand * counts.get(kind, 0) for kind, summand in _SUMMANDS_2_1.items())
    return 100.0 * route_completion * (1.0 - outside_share) / (1.0 + total)
