"""A town as the server needs it: its OpenDRIVE text and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carlad.wire.types import Transform

if TYPE_CHECKING:
    import carla


@dataclass(frozen=True)
class StopLine:
    """Where one lane has to stop for a traffic light.

    `x`, `y`, `z` is the lane's centre (m, world), `yaw` the driving direction (deg), `width` the lane's (m).
    Road and lane ids are OpenDRIVE's.
    """

    road_id: int
    lane_id: int
    x: float
    y: float
    z: float
    yaw: float
    width: float


@dataclass(frozen=True)
class TrafficLight:
    """One dynamic OpenDRIVE signal of type 1000001.

    `pose` is the foot of its post, turned as CARLA turns its traffic light actors (the signal's yaw + 90 deg).
    `group` and `phase` index `Town.light_groups` and the phases in it; a signal without a controller makes a
    group of its own.
    """

    signal_id: str
    pose: Transform
    stop_lines: tuple[StopLine, ...]
    group: int
    phase: int


@dataclass(frozen=True)
class LightGroup:
    """The lights of one junction: `phases[k]` are the indices into `Town.lights` that are green together.

    `junction_id` is None for a signal that no controller rules.
    """

    junction_id: int | None
    phases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Town:
    """`name` as the server gives it in MapInfo, such as "Carla/Maps/Town01".

    Spawn points stand 0.5 m above driving lanes, outside junctions, at least 8 m apart along a lane.
    `speed_limits_kmh` holds the limit of each OpenDRIVE road that states one, by road id.
    """

    name: str
    xodr: str
    map: carla.Map
    spawn_points: tuple[Transform, ...]
    lights: tuple[TrafficLight, ...]
    light_groups: tuple[LightGroup, ...]
    speed_limits_kmh: Mapping[int, float]
