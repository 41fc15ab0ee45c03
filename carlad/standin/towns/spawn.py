"""Where vehicles may appear: on driving lanes that lead on, clear of junctions and of each other."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from carlad.standin.towns.files import TWIN
from carlad.wire.types import Location, Rotation, Transform

if TYPE_CHECKING:
    import carla

_SPACING_M = 28.0
_LANE_MIN_M = 10.0  # the middle of a lane this long is 5 m from any spawn point of the next
_SAMPLE_M = 2.0
_ONWARD_M = 4.0  # from a lane's last sample into the next lane
_DROP_M = 0.5  # a vehicle appears above the road and falls onto its wheels
_POINTS_MAX = 300
_GAP_M = 12.0  # between points that are put between others, where there must be more of them
_EDGE_M = 6.0  # from such a point to its lane's ends
# Programs name spawn points by their number: a town has at least as many as CARLA's of its name.
_COUNTS = {
    "Town01": 255, "Town02": 101, "Town03": 265, "Town04": 372, "Town05": 302, "Town10HD": 155,
}  # fmt: skip


def spawn_points(town_map: carla.Map) -> tuple[Transform, ...]:
    """Poses 0.5 m above the lanes' centres, 10 m or more apart along a lane: first evenly spaced ones, then
    others between them as far as CARLA's town of that name has more.

    Lanes that end have none (a Traffic Manager takes vehicles away there), unless all do.
    """
    lanes: dict[tuple[int, int, int], list[carla.Waypoint]] = defaultdict(list)
    for waypoint in town_map.generate_waypoints(_SAMPLE_M):
        if not waypoint.is_junction:
            lanes[_lane_of(waypoint)].append(waypoint)
    in_turn = [lane for _, lane in sorted(lanes.items())]
    chosen = [waypoint for lane in in_turn if _leads_on(lane) for waypoint in _spread(lane)]
    chosen = chosen or [waypoint for lane in in_turn for waypoint in _spread(lane)]
    step = -(-len(chosen) // _POINTS_MAX) or 1
    chosen = chosen[::step]
    missing = _COUNTS.get(town_map.name.rpartition("/")[2].removesuffix(TWIN), 0) - len(chosen)
    if missing > 0:
        taken: dict[tuple[int, int, int], list[float]] = defaultdict(list)
        for waypoint in chosen:
            taken[_lane_of(waypoint)].append(waypoint.s)
        leading = (lane for lane in in_turn if _leads_on(lane))
        others = [waypoint for lane in leading for waypoint in _between(lane, taken[_lane_of(lane[0])])]
        step = max(1, len(others) // missing)
        chosen += others[::step][:missing]
    return tuple(_above(waypoint) for waypoint in chosen)


def _spread(lane: list[carla.Waypoint]) -> list[carla.Waypoint]:
    """Waypoints of one lane, the first and last half a spacing from its ends."""
    length = len(lane) * _SAMPLE_M
    if length < _LANE_MIN_M:
        return []
    count = max(1, int(length / _SPACING_M))
    return [lane[int((k + 0.5) * len(lane) / count)] for k in range(count)]


def _between(lane: list[carla.Waypoint], taken: list[float]) -> list[carla.Waypoint]:
    """Further waypoints of a lane that keep their distance from stations `taken`, and from each other."""
    edge, found = int(_EDGE_M / _SAMPLE_M), []
    for waypoint in lane[edge : len(lane) - edge]:
        if all(abs(waypoint.s - s) >= _GAP_M for s in taken):
            taken.append(waypoint.s)
            found.append(waypoint)
    return found


def _lane_of(waypoint: carla.Waypoint) -> tuple[int, int, int]:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


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
