"""Pedestrians: they walk as told, on flat ground, and never stumble."""

from __future__ import annotations

import struct
from functools import cached_property
from math import atan2, degrees

from carlad.standin.actors import Actor
from carlad.standin.geometry import forward, length
from carlad.standin.records import Segment
from carlad.wire import types as t
from carlad.wire.sensors import STATE_OFFSET, WALKER_FIELDS

# The middle of a walker's body above its feet, m: half of the capsule of CARLA's walkers.
MIDDLE_M = 0.9

_control = struct.Struct("<3ff?")


class Walker(Actor):
    """One pedestrian. The pose is that of the middle of the body; `ground` is the height below it, m.

    It walks as its control says, or is led by a client's crowd simulation, which tells it where to stand.
    """

    ground = 0.0
    control = t.WalkerControl(t.Vector3D())
    pose_share = 0.0  # how much of the wanted pose shows: 0 none, 1 it alone
    _led_from: t.Vector3D | None = None  # where the last step left a walker that is led
    _shown_velocity = _acceleration = t.Vector3D()  # as they were published last

    @cached_property
    def wanted_pose(self) -> dict[str, t.Transform]:
        """parent_from_bone of the bones that a client has set."""
        return {}

    @property
    def acceleration(self) -> t.Vector3D:
        """m/s^2, world frame, as it was published last."""
        return self._acceleration

    def obey(self, control: t.WalkerControl) -> None:
        """Walk from the next tick on in `control.direction` (world) with `control.speed` (m/s)."""
        self.control = control
        self._led_from = None

    def stand_at(self, feet: t.Transform, speed_mps: float) -> None:
        """Be where the client's crowd simulation wants the feet."""
        place = feet.location
        self.move(t.Transform(t.Vector3D(place.x, place.y, place.z + MIDDLE_M), feet.rotation))
        self.ground = place.z
        self.control = t.WalkerControl(forward(feet.rotation), speed_mps)
        self._led_from = self._led_from or self.pose.location

    def step(self, delta_s: float) -> None:
        if self._led_from is not None:
            self._follow(self._led_from, delta_s)
            return
        direction, speed = self.control.direction, self.control.speed
        size = length(direction)
        pose, height = self.pose, self.ground + MIDDLE_M
        if not size or not speed:
            place = t.Vector3D(pose.location.x, pose.location.y, height)
            self.move(t.Transform(place, pose.rotation), t.Vector3D())
            return
        velocity = t.Vector3D(direction.x / size * speed, direction.y / size * speed, 0.0)
        place = t.Vector3D(
            pose.location.x + velocity.x * delta_s, pose.location.y + velocity.y * delta_s, height
        )
        yaw = degrees(atan2(velocity.y, velocity.x))
        self.move(t.Transform(place, t.Rotation(0.0, yaw, 0.0)), velocity)

    def publish(self, delta_s: float) -> None:
        """The acceleration is what has become of the velocity since the last time, as vehicles' is."""
        now, before = self.velocity, self._shown_velocity
        self._acceleration = t.Vector3D(
            (now.x - before.x) / delta_s, (now.y - before.y) / delta_s, (now.z - before.z) / delta_s
        )
        self._shown_velocity = now

    def _follow(self, before: t.Vector3D, delta_s: float) -> None:
        """Stay where the crowd simulation has put it. The yaw that comes with it lags behind the motion."""
        now = self.pose.location
        velocity = t.Vector3D(
            (now.x - before.x) / delta_s, (now.y - before.y) / delta_s, (now.z - before.z) / delta_s
        )
        self.move(self.pose, velocity)
        self._led_from = now


class WalkerSegment(Segment):
    """The records of all walkers."""

    def __init__(self) -> None:
        super().__init__(WALKER_FIELDS)

    def place(self, actor: Actor) -> None:
        super().place(actor)
        assert isinstance(actor, Walker)
        direction, speed = actor.control.direction, actor.control.speed
        self.write(
            actor, _control, STATE_OFFSET, direction.x, direction.y, direction.z, speed, actor.control.jump
        )
