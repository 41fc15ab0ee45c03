"""The arm between an actor and a camera that trails it, as CARLA attaches with SpringArm and SpringArmGhost.

The camera looks at the actor from where it was attached, follows turns with a lag, and ignores pitch and
roll of the actor. Constants from CARLA's ActorAttacher.cpp (0.9.16), the lag's law from Unreal's
USpringArmComponent. An arm passes through walls here; CARLA's SpringArm (not the ghost) would shorten.
"""

from __future__ import annotations

from math import atan2, ceil, degrees, hypot

from carlad.standin.geometry import compose, forward, length
from carlad.wire import types as t

_LAG_PER_S = 8.0
_LAG_STEP_MAX_S = 1.0 / 60.0  # longer ticks are cut into steps, so that they lag alike
_RISES_M = {t.AttachmentType.SPRING_ARM: 0.3, t.AttachmentType.SPRING_ARM_GHOST: 0.0}


class SpringArm:
    """`parent_from_actor` is where the client wanted the actor; the arm stands at once where it leads."""

    def __init__(self, parent_from_actor: t.Transform, attachment: int) -> None:
        place = parent_from_actor.location
        self._length_m = length(place)
        self._rise_m = _RISES_M.get(t.AttachmentType(attachment), 0.0)
        self._yaw_deg = degrees(atan2(-place.y, -place.x))
        self._pitch_deg = degrees(atan2(-place.z, hypot(place.x, place.y)))
        self._arm_from_actor = t.Transform(t.Vector3D(), parent_from_actor.rotation)
        self._lagging_yaw_deg: float | None = None

    def carry(self, parent: t.Transform, delta_s: float) -> t.Transform:
        """world_from_actor, `delta_s` after the last call."""
        wanted_deg = parent.rotation.yaw + self._yaw_deg
        if self._lagging_yaw_deg is None:
            self._lagging_yaw_deg = wanted_deg
        behind_deg = (self._lagging_yaw_deg - wanted_deg + 180.0) % 360.0 - 180.0
        self._lagging_yaw_deg = wanted_deg + behind_deg * _left_after(delta_s)
        look = t.Rotation(self._pitch_deg, self._lagging_yaw_deg, 0.0)
        ahead, origin = forward(look), parent.location
        place = t.Vector3D(
            origin.x - ahead.x * self._length_m,
            origin.y - ahead.y * self._length_m,
            origin.z - ahead.z * self._length_m + self._rise_m,
        )
        return compose(t.Transform(place, look), self._arm_from_actor)


def _left_after(delta_s: float) -> float:
    """The share of an angle that is still left after a while."""
    steps = max(1, ceil(delta_s / _LAG_STEP_MAX_S - 1e-6))
    return float(max(0.0, 1.0 - _LAG_PER_S * delta_s / steps) ** steps)
