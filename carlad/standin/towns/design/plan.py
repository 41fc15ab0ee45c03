"""The lanes of a network: where its roads begin and end, and how lanes lead through the junctions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from carlad.standin.towns.design.curves import (
    Course,
    Pose,
    filleted,
    joining,
    length,
    pose_at,
    trimmed,
    wrapped,
)
from carlad.standin.towns.design.network import Crossing, Link, Network

KERB_RADIUS_M = 8.0
_KERB_RADIUS_OF_RAMPS_M = 2.0
_CURVE_MAX = 1.5  # a kerb's curve takes at most this many radii of an arm
_BESIDE = math.radians(165.0)  # arms further apart than this have no corner between them
_TURN_MAX = math.radians(150.0)
_TURN_MAX_OF_RAMPS = math.radians(60.0)
_STRAIGHT_ON = math.radians(45.0)
_ROAD_MIN_M = 8.0


@dataclass(frozen=True)
class Road:
    """`heights`: (s, z) where the road is level; between them it rises smoothly."""

    id: int
    link: Link
    course: Course
    heights: tuple[tuple[float, float], ...]

    @property
    def length(self) -> float:
        return length(self.course)


@dataclass(frozen=True)
class Arm:
    """One road as a junction sees it. `at_end`: the road's end, not its start, touches the junction."""

    road: Road
    at_end: bool

    @property
    def lanes_in(self) -> int:
        street = self.road.link.street
        return street.forward if self.at_end else street.backward

    @property
    def lanes_out(self) -> int:
        street = self.road.link.street
        return street.backward if self.at_end else street.forward

    @property
    def outward(self) -> Pose:
        """Where the reference line meets the junction, headed away from it."""
        if self.at_end:
            return pose_at(self.road.course, self.road.length).turned(math.pi)
        return pose_at(self.road.course, 0.0)

    def entering(self, k: int) -> Pose:
        """The left border of the k-th lane from the middle that enters the junction."""
        return self.outward.turned(math.pi).right(self.road.link.street.inner_border_m(k))

    def leaving(self, k: int) -> Pose:
        return self.outward.right(self.road.link.street.inner_border_m(k))

    def strip_in(self, kind: str, k: int = 0) -> tuple[int, float]:
        """OpenDRIVE id and width of the k-th strip of that kind on the entering side; (0, 0.0): none."""
        return self._strip(self.lanes_in, -1 if self.at_end else 1, kind, k)

    def strip_out(self, kind: str, k: int = 0) -> tuple[int, float]:
        return self._strip(self.lanes_out, 1 if self.at_end else -1, kind, k)

    def _strip(self, lanes: int, sign: int, kind: str, k: int) -> tuple[int, float]:
        street = self.road.link.street
        numbered = enumerate(street.side(lanes), start=2 if street.median_m and sign > 0 else 1)
        found = [(sign * number, strip.width_m) for number, strip in numbered if strip.kind == kind]
        return found[k] if k < len(found) else (0, 0.0)


@dataclass(frozen=True)
class Lane:
    """A lane of a connection: the ids of the lanes that it joins (0: none), its width at both ends."""

    kind: str
    before: int
    after: int
    width_m: tuple[float, float]


@dataclass(frozen=True)
class Connection:
    """The way of one driving lane through a junction, and what follows it on its right.

    The reference line is the driving lane's left border.
    """

    id: int
    incoming: Arm
    outgoing: Arm
    course: Course
    lanes: tuple[Lane, ...]


@dataclass
class Junction:
    """`arms` counter-clockwise from the east."""

    id: int
    crossing: Crossing
    arms: list[Arm] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    network: Network
    roads: tuple[Road, ...]
    junctions: tuple[Junction, ...]


def plan(network: Network) -> Plan:
    """Raises ValueError where a street is too short for the junctions at its ends."""
    courses = [_course(network, link) for link in network.links]
    setbacks = _setbacks(network, courses)
    roads = tuple(_road(network, number, courses[number], setbacks) for number in range(len(courses)))
    junctions = tuple(Junction(1000 + number, crossing) for number, crossing in enumerate(network.crossings))
    for road in roads:
        junctions[road.link.start].arms.append(Arm(road, at_end=False))
        junctions[road.link.end].arms.append(Arm(road, at_end=True))
    connection_id = len(roads)
    for junction in junctions:
        junction.arms.sort(key=lambda arm: _from_east(arm.outward.heading))
        junction.connections.extend(_connections(junction, connection_id))
        connection_id += len(junction.connections)
    return Plan(network, roads, junctions)


# --- where roads end -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bare:
    """A street's end before it is cut back: its direction from the crossing, and its half widths."""

    link: int
    at_end: bool
    direction: float
    width_in_m: float
    width_out_m: float


def _course(network: Network, link: Link) -> Course:
    start, end = network.crossings[link.start], network.crossings[link.end]
    return filleted([(start.x, start.y), *link.via, (end.x, end.y)], link.radius_m)


def _setbacks(network: Network, courses: list[Course]) -> dict[tuple[int, bool], float]:
    """How far each end of each link is cut back from its crossing, by link and whether it is the end."""
    setbacks: dict[tuple[int, bool], float] = {}
    for number, crossing in enumerate(network.crossings):
        radius = _KERB_RADIUS_OF_RAMPS_M if crossing.interchange else KERB_RADIUS_M
        ends = sorted(_ends(network, courses, number), key=lambda end: _from_east(end.direction))
        for end, onward in zip(ends, ends[1:] + ends[:1], strict=True):
            angle = (onward.direction - end.direction) % (2 * math.pi)
            corner = _corner(angle, end.width_in_m, onward.width_out_m, radius)
            for side, reach in zip((end, onward), corner, strict=True):
                key = (side.link, side.at_end)
                setbacks[key] = max(setbacks.get(key, radius), reach)
    return setbacks


def _ends(network: Network, courses: list[Course], crossing: int) -> Iterator[_Bare]:
    for number, (link, course) in enumerate(zip(network.links, courses, strict=True)):
        ahead, back = (
            link.street.half_width_m(link.street.forward),
            link.street.half_width_m(link.street.backward),
        )
        if link.start == crossing:
            yield _Bare(number, False, course[0].heading, back, ahead)
        if link.end == crossing:
            yield _Bare(number, True, course[-1].at(course[-1].length).heading + math.pi, ahead, back)


def _corner(angle: float, width: float, onward_width: float, radius: float) -> tuple[float, float]:
    """How far two neighbouring arms reach from the crossing to the ends of the kerb between them."""
    if angle > _BESIDE:
        return 0.0, 0.0
    curve = min(radius / math.tan(angle / 2), _CURVE_MAX * radius)
    c, s = math.cos(angle), math.sin(angle)
    return (onward_width + width * c) / s + curve, (width + onward_width * c) / s + curve


def _road(network: Network, number: int, course: Course, setbacks: dict[tuple[int, bool], float]) -> Road:
    link = network.links[number]
    first, last = setbacks[number, False], length(course) - setbacks[number, True]
    if last - first < _ROAD_MIN_M:
        raise ValueError(
            f"cannot plan {network.name}: the street from {link.start} to {link.end} is too short"
        )
    reach = last - first
    start, end = network.crossings[link.start].z, network.crossings[link.end].z
    heights = ((0.0, start), *((share * reach, z) for share, z in link.heights), (reach, end))
    return Road(number, link, trimmed(course, first, last), heights)


def _from_east(angle: float) -> float:
    """In [0, 2 pi), where a hair below a full turn counts as 0."""
    return (angle + 1e-6) % (2 * math.pi)


# --- the lanes through a junction ------------------------------------------------------------------


def _connections(junction: Junction, first_id: int) -> Iterator[Connection]:
    number = first_id
    for incoming, outgoing, pairs in _streams(junction):
        for k_in, k_out in sorted(pairs):
            lanes = [_driving(incoming, outgoing, k_in, k_out)]
            if _follows_kerb(junction, incoming, outgoing, k_in, k_out):
                lanes += _edge(incoming, outgoing)
            course = joining(incoming.entering(k_in), outgoing.leaving(k_out))
            yield Connection(number, incoming, outgoing, course, tuple(lanes))
            number += 1


Pairs = set[tuple[int, int]]  # an entering and a leaving lane, counted from the middle


def _streams(junction: Junction) -> list[tuple[Arm, Arm, Pairs]]:
    """Which lanes lead to which; every lane that enters leads on, every lane that leaves is reached."""
    turn_max = _TURN_MAX_OF_RAMPS if junction.crossing.interchange else _TURN_MAX
    streams = [
        (incoming, outgoing, _lane_pairs(incoming, outgoing))
        for incoming in junction.arms
        for outgoing in junction.arms
        if incoming is not outgoing and abs(_turn(incoming, outgoing)) < turn_max
    ]
    for arm in junction.arms:
        onward = [stream for stream in streams if stream[0] is arm]
        for k in set(range(arm.lanes_in)) - {k_in for _, _, pairs in onward for k_in, _ in pairs}:
            _, outgoing, pairs = _straightest(onward)
            pairs.add((k, _across(k, arm.lanes_in, outgoing.lanes_out, _turn(arm, outgoing))))
        arriving = [stream for stream in streams if stream[1] is arm]
        for k in set(range(arm.lanes_out)) - {k_out for _, _, pairs in arriving for _, k_out in pairs}:
            incoming, _, pairs = _straightest(arriving)
            pairs.add((_across(k, arm.lanes_out, incoming.lanes_in, _turn(incoming, arm)), k))
    return streams


def _lane_pairs(incoming: Arm, outgoing: Arm) -> Pairs:
    """Left turns lead inside, right turns and ramps outside, straight ways from each lane to its like."""
    lanes_in, lanes_out = incoming.lanes_in, outgoing.lanes_out
    shared = min(lanes_in, lanes_out)
    if incoming.road.link.street.ramp or outgoing.road.link.street.ramp:
        return {(lanes_in - 1 - k, lanes_out - 1 - k) for k in range(shared)}
    turn = _turn(incoming, outgoing)
    if abs(turn) < _STRAIGHT_ON:
        return {(k, k) for k in range(shared)}
    if not shared:
        return set()
    return {(0, 0)} if turn > 0 else {(lanes_in - 1, lanes_out - 1)}


def _across(k: int, lanes: int, others: int, turn: float) -> int:
    """The lane opposite to the k-th of `lanes`, counted from the side to which the way turns."""
    return min(k, others - 1) if turn > -_STRAIGHT_ON else max(others - lanes + k, 0)


def _straightest(streams: list[tuple[Arm, Arm, Pairs]]) -> tuple[Arm, Arm, Pairs]:
    usable = [stream for stream in streams if stream[0].lanes_in and stream[1].lanes_out]
    if not usable:
        raise ValueError("cannot plan a junction where a lane leads nowhere")
    return min(usable, key=lambda stream: abs(_turn(stream[0], stream[1])))


def _turn(incoming: Arm, outgoing: Arm) -> float:
    return wrapped(outgoing.outward.heading - incoming.outward.heading - math.pi)


def _driving(incoming: Arm, outgoing: Arm, k_in: int, k_out: int) -> Lane:
    (before, width), (after, width_after) = (
        incoming.strip_in("driving", k_in),
        outgoing.strip_out("driving", k_out),
    )
    return Lane("driving", before, after, (width, width_after))


def _follows_kerb(junction: Junction, incoming: Arm, outgoing: Arm, k_in: int, k_out: int) -> bool:
    """Whether this way runs along the kerb from one arm to the next one on its right."""
    neighbours = [*pairwise(junction.arms), (junction.arms[-1], junction.arms[0])]
    outermost = k_in == incoming.lanes_in - 1 and k_out == outgoing.lanes_out - 1
    return outermost and any(incoming is arm and outgoing is other for arm, other in neighbours)


def _edge(incoming: Arm, outgoing: Arm) -> Iterator[Lane]:
    """A shoulder that one arm has tapers off; a sidewalk goes on where both have one."""
    for kind in ("shoulder", "sidewalk"):
        (before, width), (after, width_after) = incoming.strip_in(kind), outgoing.strip_out(kind)
        if (before and after) or (kind == "shoulder" and (before or after)):
            yield Lane(kind, before, after, (width, width_after))
