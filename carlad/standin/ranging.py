"""Sensors that measure distances: LiDARs, radar and the obstacle detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carlad.standin.actors import Actor
from carlad.standin.rendering.lidar import Lidar, LidarModel, SemanticLidar
from carlad.standin.rendering.radar import Radar, RadarModel
from carlad.standin.rendering.sweep import Touch, first_touch
from carlad.standin.vision import Eyes
from carlad.wire import types as t
from carlad.wire.sensors import lidar_header, obstacle_body
from carlad.wire.types import CityObjectLabel

POINTS_PER_S_MAX = 50_000_000
_NOWHERE = t.BoundingBox(t.Vector3D(), t.Vector3D(), t.Rotation())


class Scanner:
    """Measures one LiDAR's points."""

    def __init__(self, lidar: Lidar | SemanticLidar, eyes: Eyes) -> None:
        self._lidar = lidar
        self._eyes = eyes

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...]:
        scan = self._lidar.scan(self._eyes.frame(), sensor.pose, delta_s)
        head = lidar_header(scan.horizontal_angle_rad, scan.points_per_channel.tolist())
        return head, scan.points.tobytes()


class RadarSensor:
    """Measures one radar's detections. A tick without any sends an empty message, as CARLA does."""

    def __init__(self, actor: Actor, eyes: Eyes) -> None:
        model = RadarModel.from_attributes(actor.values)
        _check_rate(model.points_per_second)
        self._radar = Radar(model)
        self._eyes = eyes

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...]:
        found = self._radar.scan(self._eyes.frame(), sensor.pose, sensor.velocity, self._velocity_of, delta_s)
        return (found.tobytes(),)

    def _velocity_of(self, actor_id: int) -> t.Vector3D:
        actor = self._eyes.actor(actor_id)
        return actor.velocity if actor is not None else t.Vector3D()


class ObstacleSensor:
    """Reports what is ahead of one sensor, in every tick in which something is."""

    def __init__(self, actor: Actor, eyes: Eyes) -> None:
        values = actor.values
        self._reach_m = float(values.get("distance", "5"))
        self._radius_m = float(values.get("hit_radius", "0.5"))
        self._only_actors = values.get("only_dynamics", "false").lower() == "true"
        if not self._reach_m >= 0.0 or not self._radius_m >= 0.0:
            raise ValueError(f"cannot look {self._reach_m} m ahead with a ball of {self._radius_m} m")
        self._eyes = eyes

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...] | None:
        carrier = sensor.parent or sensor
        touch = first_touch(
            self._eyes.frame(),
            sensor.pose,
            self._radius_m,
            self._reach_m,
            frozenset({carrier.id}),
            self._only_actors,
        )
        if touch is None:
            return None
        described = self._eyes.described
        other = self._eyes.actor(touch.actor_id)
        found = described(other) if other is not None else _part_of_the_town(touch)
        return (obstacle_body(described(carrier), found, touch.distance_m),)


def _part_of_the_town(touch: Touch) -> t.Actor:
    """What CARLA names where no actor is: id 0 and a type such as static.building."""
    kind = CityObjectLabel(touch.tag).name.lower().removesuffix("s")
    description = t.ActorDescription(0, f"static.{kind}", [])
    return t.Actor(0, 0, description, _NOWHERE, bytes([touch.tag]), b"")


def _lidar_model(actor: Actor) -> LidarModel:
    """Raises ValueError where the attributes make no LiDAR."""
    model = LidarModel.from_attributes(actor.values)
    _check_rate(model.points_per_second)
    return model


def _check_rate(points_per_second: int) -> None:
    if points_per_second > POINTS_PER_S_MAX:
        raise ValueError(f"cannot scan more than {POINTS_PER_S_MAX} points a second")


RANGING: dict[str, Callable[[Actor, Eyes], Scanner | RadarSensor | ObstacleSensor]] = {
    "sensor.lidar.ray_cast": lambda actor, eyes: Scanner(Lidar(_lidar_model(actor)), eyes),
    "sensor.lidar.ray_cast_semantic": lambda actor, eyes: Scanner(SemanticLidar(_lidar_model(actor)), eyes),
    "sensor.other.radar": RadarSensor,
    "sensor.other.obstacle": ObstacleSensor,
}
