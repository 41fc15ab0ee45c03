"""Where vehicles may appear: on driving lanes that lead on, clear of junctions and of each other."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from carlad.wire.types import Location, Rotation, Transform

if TYPE_CHECKING:
    import carla

_SPACING_M = 28.0
_LANE_MIN_M = 10.0  # the middle of a lane this long is 5 m from any spawn point of the next
_SAMPLE_M = 2.0
_ONWARD_M = 4.0  # from a lane's last sample into the next lane
_DROP_M = 0.5  # a vehicle appears above the road and falls onto its wheels
_POINTS_MAX = 300


def spawn_points(town_map: carla.Map) -> tuple[Transform, ...]:
    """Evenly spaced poses 0.5 m above the lanes' centres, 10 m or more apart along a lane.

    Lanes that end have none (a Traffic Manager takes vehicles away there), unless all do.
    """
    lanes: dict[tuple[int, int, int], list[carla.Waypoint]] = defaultdict(list)
    for waypoint in town_map.generate_waypoints(_SAMPLE_M):
        if not waypoint.is_junction:
            lanes[waypoint.road_id, waypoint.section_id, waypoint.lane_id].append(waypoint)
    in_turn = [lane for _, lane in sorted(lanes.items())]
    chosen = [waypoint for lane in in_turn if _leads_on(lane) for waypoint in _spread(lane)]
    chosen = chosen or [waypoint for lane in in_turn for waypoint in _spread(lane)]
    step = -(-len(chosen) // _POINTS_MAX) or 1
    return tuple(_above(waypoint) for waypoint in chosen[::step])


def _spread(lane: list[carla.Waypoint]) -> list[carla.Waypoint]:
    """Waypoints of one lane, the first and last half a spacing from its ends."""
    length = len(lane) * _SAMPLE_M
    if length < _LANE_MIN_M:
        return []
    count = max(1, int(length / _SPACING_M))
    return [lane[int((k + 0.5) * len(lane) / count)] for k in range(count)]


def _leads_on(lane: list[carla.Waypoint]) -> bool:
    """Whether there is a way on from the lane's end. Lanes left of the middle run against their stations."""
    last = lane[-1] if lane[0].lane_id < 0 else lane[0]
    return bool(last.next(_ONWARD_M))


def _above(waypoint: carla.Waypoint) -> Transform:
    pose = waypoint.transform
    return Transform(
        Location(pose.location.x, pose.location.y, pose.location.z + _DROP_M),
        Rotation(*map(half_turn, (pose.rotation.pitch, pose.rotation.yaw, pose.rotation.roll))),
    )


def half_turn(angle_deg: float) -> float:
    """The same angle in [-180, 180); the map library likes 360."""
    return (angle_deg + 180.0) % 360.0 - 180.0
