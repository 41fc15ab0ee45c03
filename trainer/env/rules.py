"""Whether an episode's driver keeps to the rules, told from the map and the signals as the truth.

Each watch is one rule: given where the vehicle was and is, it says what happened. Poses are CARLA's: metres,
radians from x towards y.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from trainer.env.signals import Light, StopLine, StopZone

_CELL_M = 16.0
_STANDING_MPS = 0.1
_SHOULDER_M = 0.3  # that the vehicle's centre may be beyond its lane's edge before it counts as off the road
_JUNCTION_M = 4.0  # the same in junctions, whose asphalt is wider than their lanes


class Pose(NamedTuple):
    """Where a vehicle is and how fast."""

    x: float
    y: float
    yaw_rad: float
    speed_mps: float


class RedLightWatch:
    """A red light is run when the vehicle's rear passes the stop line while the light is red."""

    def __init__(self, lines: Sequence[StopLine], state: Callable[[int], Light], rear_m: float) -> None:
        """`rear_m`: from the vehicle's centre back to what must not pass."""
        self._state = state
        self._rear_m = rear_m
        self._cells: dict[tuple[int, int], list[StopLine]] = defaultdict(list)
        for line in lines:
            for cell in _cells_around(line.x, line.y):
                self._cells[cell].append(line)

    def ran(self, before: Pose, now: Pose) -> bool:
        """Whether that happened between the two."""
        near = self._cells.get((int(now.x // _CELL_M), int(now.y // _CELL_M)))
        if not near:
            return False
        was, at = self._rear(before), self._rear(now)
        return any(_crosses(line, was, at) and self._state(line.light) is Light.RED for line in near)

    def _rear(self, pose: Pose) -> tuple[float, float]:
        return (
            pose.x - self._rear_m * math.cos(pose.yaw_rad),
            pose.y - self._rear_m * math.sin(pose.yaw_rad),
        )


class StopSignWatch:
    """A stop sign is run when the vehicle leaves its zone without having stood still in it."""

    def __init__(self, zones: Sequence[StopZone]) -> None:
        self._cells: dict[tuple[int, int], list[StopZone]] = defaultdict(list)
        for zone in zones:
            for cell in _cells_around(zone.x, zone.y):
                self._cells[cell].append(zone)
        self._inside: StopZone | None = None
        self._stood = False

    @property
    def heeded(self) -> int | None:
        """The sign that the vehicle stands at or has stood at, until it leaves its zone."""
        return self._inside.sign if self._inside is not None and self._stood else None

    def ran(self, now: Pose) -> bool:
        """Whether the vehicle has just left a zone without having stood."""
        inside = self._inside
        if inside is not None and not inside.holds(now.x, now.y):
            self._inside = None
            return not self._stood
        if inside is None and (entered := self._entered(now)) is not None:
            self._inside, self._stood = entered, False
        if self._inside is not None and now.speed_mps < _STANDING_MPS:
            self._stood = True
        return False

    def _entered(self, now: Pose) -> StopZone | None:
        for zone in self._cells.get((int(now.x // _CELL_M), int(now.y // _CELL_M)), ()):
            if zone.holds(now.x, now.y) and math.cos(now.yaw_rad - zone.heading_rad) > 0:
                return zone
        return None


class LaneUse(NamedTuple):
    """How the vehicle's centre stands to the nearest lane."""

    off_road: bool
    wrong_way: bool
    over_solid: bool
    """It has just come to the lane beside over a line that forbids it."""
    offset_m: float
    """From that lane's centre, unsigned."""
    junction: bool

    @property
    def outside(self) -> bool:
        """Not on the driving lanes of its direction."""
        return self.off_road or self.wrong_way


class LaneWatch:
    """Looks up the lane under the vehicle on a `carla.Map`; a look takes some microseconds."""

    def __init__(self, carla_map: Any, driving: Any) -> None:
        """`driving`: the carla.LaneType values on which one may drive."""
        self._map, self._driving = carla_map, driving
        self._lane: tuple[int, int, int] | None = None
        self._allowed: Any = None  # carla.LaneChange where the vehicle was

    def on_route(self, offset_m: float) -> LaneUse:
        """What needs no look: the vehicle keeps so near to the centre of a lane that it is to drive on."""
        self._lane = None
        return LaneUse(False, False, False, offset_m, False)

    def look(self, location: Any, yaw_rad: float) -> LaneUse:
        """`location`: the vehicle's carla.Location."""
        waypoint = self._map.get_waypoint(location, True, self._driving)
        if waypoint is None:
            return LaneUse(True, False, False, math.inf, False)
        transform, junction = waypoint.transform, bool(waypoint.is_junction)
        centre = transform.location
        offset_m = math.hypot(location.x - centre.x, location.y - centre.y)
        edge_m = waypoint.lane_width / 2 + (_JUNCTION_M if junction else _SHOULDER_M)
        along = math.cos(yaw_rad - math.radians(transform.rotation.yaw))
        lane = waypoint.road_id, waypoint.section_id, waypoint.lane_id
        over_solid = self._is_over_solid(lane) and not junction
        self._lane, self._allowed = lane, waypoint.lane_change
        return LaneUse(offset_m > edge_m, along < 0 and not junction, over_solid, offset_m, junction)

    def _is_over_solid(self, lane: tuple[int, int, int]) -> bool:
        was = self._lane
        if was is None or was[:2] != lane[:2] or was[2] == lane[2]:
            return False
        if was[2] * lane[2] < 0:
            return True
        side = "Right" if abs(lane[2]) > abs(was[2]) else "Left"
        return str(self._allowed) not in (side, "Both")


def _cells_around(x: float, y: float) -> list[tuple[int, int]]:
    column, row = int(x // _CELL_M), int(y // _CELL_M)
    return [(column + i, row + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def _crosses(line: StopLine, was: tuple[float, float], at: tuple[float, float]) -> bool:
    """Whether the way from one place to the other passes the line in its lane's direction."""
    cos, sin = math.cos(line.heading_rad), math.sin(line.heading_rad)
    before = cos * (was[0] - line.x) + sin * (was[1] - line.y)
    after = cos * (at[0] - line.x) + sin * (at[1] - line.y)
    if not before < 0 <= after:
        return False
    part = before / (before - after)
    x, y = was[0] + part * (at[0] - was[0]), was[1] + part * (at[1] - was[1])
    return abs(cos * (y - line.y) - sin * (x - line.x)) <= line.half_width_m
