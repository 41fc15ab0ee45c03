"""Why an episode of Route-v0 ends."""

from __future__ import annotations

import enum

from trainer.env.config import RouteConfig


class Reason(enum.Enum):
    """How an episode ended: all but the time limit are ends of the task itself."""

    SUCCESS = "success"
    COLLISION = "collision"
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
        return self in (Reason.COLLISION, Reason.DEVIATION, Reason.BLOCKED)


ARRIVED_WITHIN_M = 2.0  # of the route's end: the front bumper is there


def reason_to_end(
    config: RouteConfig,
    *,
    collided: bool,
    lateral_m: float,
    remaining_m: float,
    stood_s: float,
    elapsed_s: float,
    length_m: float,
) -> Reason | None:
    """The reason to end the episode now, the gravest first; None while it goes on.

    `stood_s` is how long the vehicle has been slower than `blocked_speed_mps`.
    """
    if collided:
        return Reason.COLLISION
    if abs(lateral_m) > config.deviation_max_m:
        return Reason.DEVIATION
    if remaining_m <= ARRIVED_WITHIN_M:
        return Reason.SUCCESS
    if stood_s >= config.blocked_after_s:
        return Reason.BLOCKED
    if elapsed_s >= length_m / config.slowest_mps:
        return Reason.TIME_LIMIT
    return None
