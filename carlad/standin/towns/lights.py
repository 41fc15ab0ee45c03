"""Which lights a town has, which lanes they stop and which are green together."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carlad.standin.towns.attributes import whole
from carlad.standin.towns.spawn import half_turn
from carlad.wire.types import Location, Rotation, Transform

if TYPE_CHECKING:
    import carla

_TRAFFIC_LIGHT_TYPE = "1000001"
_LANES_MAX = 20  # on one side of a road
_BACK_STEP_M = 0.5
_BACK_MAX_M = 60.0  # a connecting road is shorter


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

    `pose` is the foot of its post, turned as CARLA turns its traffic light actors: 90 deg more than the
    driving direction of the lanes that it stops (TrafficLightManager.cpp). `group` and `phase` index
    `Town.light_groups` and the phases in it.
    """

    signal_id: str
    pose: Transform
    stop_lines: tuple[StopLine, ...]
    group: int
    phase: int


@dataclass(frozen=True)
class LightGroup:
    """The lights of one junction: `phases[k]` are the indices into `Town.lights` that are green together.

    `junction_id` is None for a signal that no controller rules; it is a group of its own.
    """

    junction_id: int | None
    phases: tuple[tuple[int, ...], ...]


def light_plan(
    town_map: carla.Map, document: ET.Element
) -> tuple[tuple[TrafficLight, ...], tuple[LightGroup, ...]]:
    """The lights in order of their signals' ids, and the groups that share a cycle.

    `document` is the OpenDRIVE root element that `town_map` was made of: `carla.Map` shows no controllers.
    """
    landmarks: dict[str, list[carla.Landmark]] = defaultdict(list)
    for landmark in town_map.get_all_landmarks_of_type(_TRAFFIC_LIGHT_TYPE):
        landmarks[landmark.id].append(landmark)
    signal_ids = sorted(landmarks, key=natural)
    groups = tuple(_groups(document, signal_ids))
    places = {
        light: (g, p)
        for g, group in enumerate(groups)
        for p, phase in enumerate(group.phases)
        for light in phase
    }
    lights = tuple(
        _light(town_map, signal_id, landmarks[signal_id], *places[index])
        for index, signal_id in enumerate(signal_ids)
    )
    return lights, groups


# --- who is green with whom ------------------------------------------------------------------------


def _groups(document: ET.Element, signal_ids: list[str]) -> Iterator[LightGroup]:
    """One group for each junction with controllers, one phase for each controller; then the loners."""
    index = {signal_id: i for i, signal_id in enumerate(signal_ids)}
    controlled = {
        controller.get("id"): [str(control.get("signalId")) for control in controller.iter("control")]
        for controller in document.iterfind("controller")
    }
    taken: set[str] = set()
    for junction in document.iterfind("junction"):
        phases = []
        for reference in sorted(junction.iterfind("controller"), key=lambda one: whole(one, "sequence")):
            members = [s for s in controlled.get(reference.get("id"), ()) if s in index and s not in taken]
            taken.update(members)
            if members:
                phases.append(tuple(index[signal_id] for signal_id in members))
        if phases:
            yield LightGroup(whole(junction, "id", -1), tuple(phases))
    for signal_id in signal_ids:
        if signal_id not in taken:
            yield LightGroup(None, ((index[signal_id],),))


def natural(signal_id: str) -> tuple[int, str]:
    """Orders "9" before "10"."""
    return (int(signal_id), "") if signal_id.isdecimal() else (1 << 62, signal_id)


# --- where a light stands and whom it stops --------------------------------------------------------


def _light(
    town_map: carla.Map, signal_id: str, landmarks: list[carla.Landmark], group: int, phase: int
) -> TrafficLight:
    lines = stop_lines_of(town_map, landmarks)
    return TrafficLight(signal_id, pose_of(landmarks[0], lines), lines, group, phase)


def stop_lines_of(town_map: carla.Map, landmarks: Iterable[carla.Landmark]) -> tuple[StopLine, ...]:
    """Where the lanes stop that the landmarks of one signal name, before a junction where it lies in one."""
    stops: dict[tuple[int, int], StopLine] = {}
    for landmark in landmarks:
        for lane_id in _ruled_lanes(town_map, landmark):
            waypoint = _before_junction(town_map.get_waypoint_xodr(landmark.road_id, lane_id, landmark.s))
            if waypoint is not None:
                stops[waypoint.road_id, waypoint.lane_id] = _stop_line(waypoint)
    return tuple(stops.values())


def pose_of(landmark: carla.Landmark, stop_lines: Sequence[StopLine]) -> Transform:
    """The foot of a signal's post, turned 90 deg from the driving direction."""
    place, turn = landmark.transform.location, landmark.transform.rotation
    yaw = (stop_lines[0].yaw if stop_lines else turn.yaw) + 90.0
    return Transform(Location(place.x, place.y, place.z), Rotation(0.0, half_turn(yaw), 0.0))


def _ruled_lanes(town_map: carla.Map, landmark: carla.Landmark) -> Iterator[int]:
    """Driving lanes by the signal's validities; the map library fills them in where there are none."""
    for lane_id in _span(landmark.get_lane_validities()):
        waypoint = town_map.get_waypoint_xodr(landmark.road_id, lane_id, landmark.s)
        if waypoint is not None and waypoint.lane_type.name == "Driving":
            yield lane_id


def _span(validities: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in validities:
        low, high = max(min(first, last), -_LANES_MAX), min(max(first, last), _LANES_MAX)
        yield from (lane for lane in range(low, high + 1) if lane != 0)


def _before_junction(waypoint: carla.Waypoint) -> carla.Waypoint | None:
    """`waypoint`, or where its lane entered the junction that it lies in."""
    for _ in range(int(_BACK_MAX_M / _BACK_STEP_M)):
        if not waypoint.is_junction:
            return waypoint
        behind = waypoint.previous(_BACK_STEP_M)
        if not behind:
            return None
        waypoint = behind[0]
    return None


def _stop_line(waypoint: carla.Waypoint) -> StopLine:
    pose = waypoint.transform
    return StopLine(
        road_id=waypoint.road_id,
        lane_id=waypoint.lane_id,
        x=pose.location.x,
        y=pose.location.y,
        z=pose.location.z,
        yaw=half_turn(pose.rotation.yaw),
        width=waypoint.lane_width,
    )
