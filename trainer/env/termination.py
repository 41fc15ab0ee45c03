"""Why an episode of Route-v0 ends."""

from __future__ import annotations

import enum
from collections.abc import Collection

from trainer.env.config import RouteConfig
from trainer.env.scores import Infraction


class Reason(enum.Enum):
    """How an episode ended: all but the time limit are ends of the task itself."""

    SUCCESS = "success"
    COLLISION = "collision"
    RED_LIGHT = "red_light"
    STOP_SIGN = "stop_sign"
    OFF_ROAD = "off_road"
    DEVIATION = "deviation"
    BLOCKED = "blocked"
    TIME_LIMIT = "time_limit"

    @property
    def truncates(self) -> bool:
        """Whether the episode was only cut off: what would have come is worth its value."""
        return self is Reason.TIME_LIMIT

    @property
    def is_failure(self) -> bool:
        """Whether the driver is to blame."""
        return self not in (Reason.SUCCESS, Reason.TIME_LIMIT)


ARRIVED_WITHIN_M = 2.0  # of the route's end: the front bumper is there
_ENDS = {
    Infraction.COLLISION_PEDESTRIAN: Reason.COLLISION,
    Infraction.COLLISION_VEHICLE: Reason.COLLISION,
    Infraction.COLLISION_STATIC: Reason.COLLISION,
    Infraction.RED_LIGHT: Reason.RED_LIGHT,
    Infraction.STOP_SIGN: Reason.STOP_SIGN,
}
_GRAVITY = list(Infraction)  # in the order of their definition


def reason_to_end(
    config: RouteConfig,
    *,
    new: Collection[Infraction],
    off_road: bool,
    lateral_m: float,
    remaining_m: float,
    stood_s: float,
    elapsed_s: float,
    length_m: float,
) -> Reason | None:
    """The reason to end the episode now, the gravest first; None while it goes on.

    `new` are the infractions of this step, `stood_s` is how long the vehicle has been slower than
    `blocked_speed_mps` without anything to wait for. What `config.ends` leaves out ends nothing.
    """
    for kind in sorted(new, key=_GRAVITY.index) if new else ():
        if kind in _ENDS and _ENDS[kind].value in config.ends:
            return _ENDS[kind]
    if abs(lateral_m) > config.deviation_max_m and "deviation" in config.ends:
        return Reason.DEVIATION
    if off_road and "off_road" in config.ends:
        return Reason.OFF_ROAD
    if remaining_m <= ARRIVED_WITHIN_M:
        return Reason.SUCCESS
    if stood_s >= config.blocked_after_s and "blocked" in config.ends:
        return Reason.BLOCKED
    if elapsed_s >= length_m / config.slowest_mps:
        return Reason.TIME_LIMIT
    return None
