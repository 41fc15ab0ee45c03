"""The junctions of a map as traffic sees them: arms, and streams from one arm to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import carla

_STEP_M = 0.5  # back from a junction to the lane that leads into it
_STRIDE_M = 2.0
_STRIDES_MAX = 100
_SIDE_BY_SIDE_DEG = 45.0  # arms closer than this merge
_CIRCLING_DEG = 70.0  # so do one-way ones closer than this, as at roundabouts and ramps
_EAST_SLACK_DEG = 0.5  # an arm that points east but for a rounding error comes first

Point = tuple[float, float]
ArmKey = tuple[int, bool]


@dataclass
class Arm:
    """One end of a road at a junction. `at_end`: the road's end, not its start, touches it.

    `heading` leads away from the junction, degrees counter-clockwise from the east.
    """

    road_id: int
    at_end: bool
    heading: float
    lanes_in: set[int] = field(default_factory=set)
    lanes_out: set[int] = field(default_factory=set)

    @property
    def key(self) -> ArmKey:
        return self.road_id, self.at_end

    @property
    def two_way(self) -> bool:
        return bool(self.lanes_in) and bool(self.lanes_out)


@dataclass(frozen=True)
class Stream:
    """One lane's way through a junction, as its chord. `turn`: degrees, positive to the left."""

    incoming: ArmKey
    outgoing: ArmKey
    begin: Point
    end: Point
    turn: float

    def crosses(self, other: Stream) -> bool:
        """Whether the two ways cross; ways that begin or end together do not."""
        return (
            _side(self.begin, self.end, other.begin) * _side(self.begin, self.end, other.end) < 0
            and _side(other.begin, other.end, self.begin) * _side(other.begin, other.end, self.end) < 0
        )


@dataclass
class Junction:
    """`roads` are the ids of the roads inside it."""

    id: int
    arms: dict[ArmKey, Arm] = field(default_factory=dict)
    streams: list[Stream] = field(default_factory=list)
    roads: set[int] = field(default_factory=set)

    def counter_clockwise(self) -> list[Arm]:
        """The arms in turn, from the east."""
        return sorted(self.arms.values(), key=lambda arm: (arm.heading + _EAST_SLACK_DEG) % 360.0)

    def crossings(self) -> Iterator[tuple[Stream, Stream]]:
        """Pairs of streams from different arms that cross. Streams that come side by side only merge."""
        for i, stream in enumerate(self.streams):
            for other in self.streams[:i]:
                if not self._side_by_side(stream, other) and stream.crosses(other):
                    yield stream, other

    def _side_by_side(self, stream: Stream, other: Stream) -> bool:
        arm, beside = self.arms[stream.incoming], self.arms[other.incoming]
        apart = abs((arm.heading - beside.heading + 180.0) % 360.0 - 180.0)
        return apart < (_SIDE_BY_SIDE_DEG if arm.two_way or beside.two_way else _CIRCLING_DEG)


def junctions(town_map: carla.Map) -> list[Junction]:
    """All junctions with driving lanes, in order of their ids."""
    found: dict[int, carla.Junction] = {}
    for begin, _ in town_map.get_topology():
        if begin.is_junction and begin.junction_id not in found:
            found[begin.junction_id] = begin.get_junction()
    return [_junction(found[id]) for id in sorted(found)]


def _junction(given: carla.Junction) -> Junction:
    junction = Junction(given.id)
    known = set()
    for begin, _ in given.get_waypoints(carla.LaneType.Driving):
        junction.roads.add(begin.road_id)
        before = next((w for w in begin.previous(_STEP_M) if not w.is_junction), None)
        after = _after(begin)
        if before is None or after is None:
            continue  # the way begins at an inner lane section, or ends in the junction
        lanes = (before.road_id, before.lane_id, after.road_id, after.lane_id)
        if lanes not in known:
            known.add(lanes)
            junction.streams.append(_stream(junction, before, after))
    return junction


def _after(waypoint: carla.Waypoint) -> carla.Waypoint | None:
    """Where the way from `waypoint` leaves the junction."""
    for _ in range(_STRIDES_MAX):
        onward = waypoint.next(_STRIDE_M)
        if not onward:
            return None
        waypoint = onward[0]
        if not waypoint.is_junction:
            return waypoint
    return None


def _stream(junction: Junction, before: carla.Waypoint, after: carla.Waypoint) -> Stream:
    incoming = _arm(junction, before, at_end=before.lane_id < 0, turned=180.0)
    outgoing = _arm(junction, after, at_end=after.lane_id > 0, turned=0.0)
    incoming.lanes_in.add(before.lane_id)
    outgoing.lanes_out.add(after.lane_id)
    turn = (_heading(after) - _heading(before) + 180.0) % 360.0 - 180.0
    return Stream(incoming.key, outgoing.key, _place(before), _place(after), turn)


def _arm(junction: Junction, waypoint: carla.Waypoint, at_end: bool, turned: float) -> Arm:
    arm = Arm(waypoint.road_id, at_end, (_heading(waypoint) + turned) % 360.0)
    return junction.arms.setdefault(arm.key, arm)


def _heading(waypoint: carla.Waypoint) -> float:
    return -float(waypoint.transform.rotation.yaw)


def _place(waypoint: carla.Waypoint) -> Point:
    location = waypoint.transform.location
    return location.x, -location.y


def _side(a: Point, b: Point, c: Point) -> float:
    """Positive where `c` lies left of the way from `a` to `b`."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
