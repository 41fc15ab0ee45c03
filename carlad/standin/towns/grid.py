"""The street plan of a grid town: which roads there are, where they lie and how their lanes meet.

Pure geometry in OpenDRIVE's frame: metres and radians, x east, y north, headings counter-clockwise.
Traffic drives on the right. The outermost streets form a ring that turns in arcs at the town's corners;
where an inner street meets the ring there is a T junction, elsewhere a four-way junction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

LANE_WIDTH_M = 3.5
SIDEWALK_WIDTH_M = 2.5
CURB_RADIUS_M = 8.0  # of the kerb at a junction's corner
CORNER_RADIUS_M = 18.0  # of the ring's centre line at the town's corners

EAST, NORTH, WEST, SOUTH = range(4)
_STEP = {EAST: (1, 0), NORTH: (0, 1), WEST: (-1, 0), SOUTH: (0, -1)}

Node = tuple[int, int]  # column and row of a crossing, from the south-west
Point = tuple[float, float]


@dataclass(frozen=True)
class Street:
    """`lanes` in each direction."""

    lanes: int
    speed_kmh: int

    @property
    def half_width_m(self) -> float:
        return self.lanes * LANE_WIDTH_M


@dataclass(frozen=True)
class GridSpec:
    """Block lengths from west to east and from south to north, at least two of each.

    `arterial_columns` and `arterial_rows` name the inner streets that are wide (0 is the ring's).
    """

    name: str
    columns_m: tuple[float, ...]
    rows_m: tuple[float, ...]
    arterial_columns: frozenset[int] = frozenset()
    arterial_rows: frozenset[int] = frozenset()
    local: Street = Street(lanes=1, speed_kmh=30)
    arterial: Street = Street(lanes=2, speed_kmh=50)
    ring: Street = Street(lanes=1, speed_kmh=40)
    latitude_deg: float = 49.0
    longitude_deg: float = 8.4

    def column(self, i: int) -> Street:
        """The street that runs north at crossing column `i`."""
        return self._street(i, len(self.columns_m), self.arterial_columns)

    def row(self, j: int) -> Street:
        """The street that runs east at crossing row `j`."""
        return self._street(j, len(self.rows_m), self.arterial_rows)

    def _street(self, index: int, last: int, arterials: frozenset[int]) -> Street:
        if index in (0, last):
            return self.ring
        return self.arterial if index in arterials else self.local


@dataclass(frozen=True)
class Segment:
    """A piece of a reference line: a straight where `curvature` is 0, else an arc (positive: left)."""

    x: float
    y: float
    heading: float
    length: float
    curvature: float = 0.0


@dataclass(frozen=True)
class Road:
    """A two-way street between two junctions; it starts at `start` and ends at `end`."""

    id: int
    street: Street
    segments: tuple[Segment, ...]
    start: Node
    end: Node

    @property
    def length(self) -> float:
        return sum(segment.length for segment in self.segments)


@dataclass(frozen=True)
class Arm:
    """One road as a junction sees it. `at_end`: the road's end, not its start, touches the junction."""

    road: Road
    at_end: bool

    def incoming_lane(self, k: int) -> int:
        """OpenDRIVE id of the k-th lane from the middle (0: innermost) that enters the junction."""
        return -(k + 1) if self.at_end else k + 1

    def outgoing_lane(self, k: int) -> int:
        return -self.incoming_lane(k)

    @property
    def lanes(self) -> int:
        return self.road.street.lanes


@dataclass(frozen=True)
class Connection:
    """One lane through a junction. Its reference line is the lane's left border."""

    id: int
    incoming: Arm
    outgoing: Arm
    from_lane: int
    to_lane: int
    segments: tuple[Segment, ...]
    sidewalk: bool  # whether the pavement follows it on its right


@dataclass
class Junction:
    """`arms` by the direction in which they leave. Signals stand where `signalised`."""

    id: int
    node: Node
    signalised: bool
    arms: dict[int, Arm] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    spec: GridSpec
    roads: tuple[Road, ...]
    junctions: tuple[Junction, ...]


def plan(spec: GridSpec) -> Plan:
    """The whole town. Raises ValueError where blocks are too few or too short."""
    if min(len(spec.columns_m), len(spec.rows_m)) < 2:
        raise ValueError(f"cannot plan {spec.name}: a grid town has at least 2 by 2 blocks")
    junctions = {node: _junction(spec, node, number) for number, node in enumerate(_crossings(spec))}
    roads: list[Road] = []
    for start, leaving, end, arriving in _links(spec):
        road = Road(len(roads), _street(spec, start, leaving), _course(spec, start, leaving, end), start, end)
        roads.append(road)
        junctions[start].arms[leaving] = Arm(road, at_end=False)
        junctions[end].arms[arriving] = Arm(road, at_end=True)
    connection_id = len(roads)
    for junction in junctions.values():
        junction.connections.extend(_connections(spec, junction, connection_id))
        connection_id += len(junction.connections)
    return Plan(spec, tuple(roads), tuple(junctions.values()))


# --- crossings and the streets between them --------------------------------------------------------


def _corners(spec: GridSpec) -> set[Node]:
    last_column, last_row = len(spec.columns_m), len(spec.rows_m)
    return {(0, 0), (last_column, 0), (0, last_row), (last_column, last_row)}


def _crossings(spec: GridSpec) -> Iterator[Node]:
    corners = _corners(spec)
    for i in range(len(spec.columns_m) + 1):
        for j in range(len(spec.rows_m) + 1):
            if (i, j) not in corners:
                yield i, j


def _junction(spec: GridSpec, node: Node, number: int) -> Junction:
    i, j = node
    on_ring = i in (0, len(spec.columns_m)) or j in (0, len(spec.rows_m))
    on_arterial = i in spec.arterial_columns or j in spec.arterial_rows
    return Junction(id=1000 + number, node=node, signalised=on_arterial or not on_ring)


def _links(spec: GridSpec) -> Iterator[tuple[Node, int, Node, int]]:
    """Each road as (from, direction it leaves in, to, direction in which it lies from there)."""
    corners = _corners(spec)
    for node in _crossings(spec):
        for direction in (EAST, NORTH):
            far = _neighbour(node, direction)
            if _inside(spec, far) and far not in corners:
                yield node, direction, far, _opposite(direction)
    for corner in sorted(corners):
        along_x = EAST if corner[0] == 0 else WEST
        along_y = NORTH if corner[1] == 0 else SOUTH
        start, end = _neighbour(corner, along_x), _neighbour(corner, along_y)
        yield start, _opposite(along_x), end, _opposite(along_y)


def _course(spec: GridSpec, start: Node, leaving: int, end: Node) -> tuple[Segment, ...]:
    """The reference line of a road: one straight, or straight, arc, straight around a corner."""
    begin = _gate(spec, start, leaving)
    arriving = leaving
    if start[0] != end[0] and start[1] != end[1]:
        corner = _neighbour(start, leaving)
        arriving = next(d for d in _STEP if _neighbour(corner, d) == end)
    finish = _gate(spec, end, _opposite(arriving))
    if min(_along(begin, leaving, finish), _along(begin, arriving, finish)) <= 0:
        raise ValueError(f"cannot plan {spec.name}: the block between {start} and {end} is too short")
    return tuple(_turn(begin, leaving, finish, arriving, CORNER_RADIUS_M))


def _street(spec: GridSpec, node: Node, direction: int) -> Street:
    return spec.row(node[1]) if direction in (EAST, WEST) else spec.column(node[0])


def _position(spec: GridSpec, node: Node) -> Point:
    return sum(spec.columns_m[: node[0]]), sum(spec.rows_m[: node[1]])


def _gate(spec: GridSpec, node: Node, direction: int) -> Point:
    """Where the centre line of the arm in `direction` meets the junction."""
    x, y = _position(spec, node)
    crossing = spec.column(node[0]) if direction in (EAST, WEST) else spec.row(node[1])
    setback = crossing.half_width_m + CURB_RADIUS_M
    step_x, step_y = _STEP[direction]
    return x + step_x * setback, y + step_y * setback


def _neighbour(node: Node, direction: int) -> Node:
    step_x, step_y = _STEP[direction]
    return node[0] + step_x, node[1] + step_y


def _inside(spec: GridSpec, node: Node) -> bool:
    return 0 <= node[0] <= len(spec.columns_m) and 0 <= node[1] <= len(spec.rows_m)


def _opposite(direction: int) -> int:
    return (direction + 2) % 4


# --- the lanes through a junction ------------------------------------------------------------------


def _connections(spec: GridSpec, junction: Junction, first_id: int) -> Iterator[Connection]:
    number = first_id
    for came_from, incoming in sorted(junction.arms.items()):
        heading = _opposite(came_from)
        for leaving, outgoing in sorted(junction.arms.items()):
            if leaving == came_from:
                continue
            for k_in, k_out in _lane_pairs((leaving - heading) % 4, incoming.lanes, outgoing.lanes):
                begin = _lane_gate(_gate(spec, junction.node, came_from), heading, k_in)
                finish = _lane_gate(_gate(spec, junction.node, leaving), leaving, k_out)
                yield Connection(
                    id=number,
                    incoming=incoming,
                    outgoing=outgoing,
                    from_lane=incoming.incoming_lane(k_in),
                    to_lane=outgoing.outgoing_lane(k_out),
                    segments=tuple(_turn(begin, heading, finish, leaving)),
                    sidewalk=_has_pavement(junction, heading, leaving, k_in == incoming.lanes - 1),
                )
                number += 1


def _lane_pairs(quarter_turns: int, lanes_in: int, lanes_out: int) -> list[tuple[int, int]]:
    """Which lane leads to which, counted from the middle: left turns inside, right turns outside."""
    if quarter_turns == 1:
        return [(0, 0)]
    if quarter_turns == 3:
        return [(lanes_in - 1, lanes_out - 1)]
    return [(k, k) for k in range(min(lanes_in, lanes_out))]


def _lane_gate(gate: Point, heading: int, k: int) -> Point:
    """The left border of the k-th lane from the middle, for traffic that heads in `heading`."""
    right_x, right_y = _STEP[(heading - 1) % 4]
    return gate[0] + right_x * k * LANE_WIDTH_M, gate[1] + right_y * k * LANE_WIDTH_M


def _has_pavement(junction: Junction, heading: int, leaving: int, outermost: bool) -> bool:
    right = (heading - 1) % 4
    return outermost and (leaving == right or (leaving == heading and right not in junction.arms))


# --- lines and arcs --------------------------------------------------------------------------------


def _turn(
    begin: Point, heading: int, finish: Point, leaving: int, radius: float = math.inf
) -> Iterator[Segment]:
    """From `begin` to `finish` with one quarter turn, no tighter than it must be and at most `radius`."""
    if leaving == heading:
        yield _straight(begin, heading, _along(begin, heading, finish))
        return
    ahead, aside = _along(begin, heading, finish), _along(begin, leaving, finish)
    radius = min(radius, ahead, aside)
    if ahead - radius > 1e-9:
        yield _straight(begin, heading, ahead - radius)
    step_x, step_y = _STEP[heading]
    x, y = begin[0] + step_x * (ahead - radius), begin[1] + step_y * (ahead - radius)
    sign = 1.0 if (leaving - heading) % 4 == 1 else -1.0
    yield Segment(x, y, _angle(heading), radius * math.pi / 2, sign / radius)
    if aside - radius > 1e-9:
        step_x, step_y = _STEP[leaving]
        rest = aside - radius
        yield _straight((finish[0] - step_x * rest, finish[1] - step_y * rest), leaving, rest)


def _along(begin: Point, direction: int, finish: Point) -> float:
    """How far `finish` lies from `begin` in `direction`."""
    step_x, step_y = _STEP[direction]
    return (finish[0] - begin[0]) * step_x + (finish[1] - begin[1]) * step_y


def _straight(begin: Point, heading: int, length: float) -> Segment:
    return Segment(begin[0], begin[1], _angle(heading), length)


def _angle(direction: int) -> float:
    return (0.0, math.pi / 2, math.pi, -math.pi / 2)[direction]
