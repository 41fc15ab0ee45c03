"""The junctions of a map as traffic sees them: arms, and streams from one arm to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import carla

_STEP_M = 0.5
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
        """Pairs of streams from different arms that cross."""
        for i, stream in enumerate(self.streams):
            for other in self.streams[:i]:
                if stream.incoming != other.incoming and stream.crosses(other):
                    yield stream, other


def junctions(town_map: carla.Map) -> list[Junction]:
    """All junctions with driving lanes, in order of their ids."""
    found: dict[int, carla.Junction] = {}
    for begin, _ in town_map.get_topology():
        if begin.is_junction and begin.junction_id not in found:
            found[begin.junction_id] = begin.get_junction()
    return [_junction(found[id]) for id in sorted(found)]


def _junction(given: carla.Junction) -> Junction:
    junction = Junction(given.id)
    for begin, end in given.get_waypoints(carla.LaneType.Driving):
        junction.roads.update((begin.road_id, end.road_id))
        before = next((w for w in begin.previous(_STEP_M) if not w.is_junction), None)
        after = next((w for w in end.next(_STEP_M) if not w.is_junction), None)
        if before is None or after is None:
            continue
        incoming = _arm(junction, before, at_end=before.lane_id < 0, turned=180.0)
        outgoing = _arm(junction, after, at_end=after.lane_id > 0, turned=0.0)
        incoming.lanes_in.add(before.lane_id)
        outgoing.lanes_out.add(after.lane_id)
        turn = (_heading(after) - _heading(before) + 180.0) % 360.0 - 180.0
        junction.streams.append(Stream(incoming.key, outgoing.key, _place(before), _place(after), turn))
    return junction


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
