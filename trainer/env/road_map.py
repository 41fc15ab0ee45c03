"""Routes over a town's lanes: its topology as a graph, random walks in it, and ways through given points.

A node is a lane of one road section, in its driving direction; an edge leads to the lanes that begin where it
ends, and to those beside it that one may change to. It works on a `carla.Map` and needs no server.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import carla
import networkx as nx
import numpy as np
from numpy.typing import NDArray

from trainer.env.route import RoadOption, Route

Key = tuple[int, int, int]
Points = NDArray[np.float64]

_STEP_M = 1.0  # between a lane's points
_CHANGE_M = 14.0  # along the road, which a change of lane takes
_CHANGE_COSTS_M = 20.0  # what a planned way would rather drive than change lanes
_LANES_MAX = 1000  # of a random route; more would be lanes without length
_TURN_RAD = math.radians(30.0)  # less is straight on
_ON_ROAD_M = 4.0  # how far a given point may be from a lane's centre


class NoWayError(ValueError):
    """A route that cannot be driven on this map."""


class Lane(NamedTuple):
    """The centre of a lane in one road section: float64 (N, 2) in metres, one at least, about 1 m apart."""

    xy: Points
    travelled_m: NDArray[np.float64]
    """From its first point to each."""
    junction: bool


class Spot(NamedTuple):
    """A place on a lane: the index of its nearest point."""

    key: Key
    at: int


class RoadMap:
    """The lanes of a `carla.Map` as a graph. Building it takes tens of milliseconds."""

    def __init__(self, carla_map: Any) -> None:
        self.name: str = carla_map.name
        self._map = carla_map
        self.graph: nx.DiGraph[Key] = nx.DiGraph()
        for start, successor in carla_map.get_topology():
            self._add(start)
            self._add(successor)
            if _key(start) != _key(successor):
                self.graph.add_edge(_key(start), _key(successor), option=RoadOption.FOLLOW, cost_m=0.0)
        for key in list(self.graph):
            self._add_changes(key)
        for origin, _, edge in self.graph.edges(data=True):
            edge["cost_m"] += float(self.lane(origin).travelled_m[-1])

    def random_route(
        self, start: Sequence[float], length_m: float, rng: np.random.Generator, lane_changes: float
    ) -> Route | None:
        """A route of that length from the lane at `start` (x, y, z), any way at each junction.

        `lane_changes`: the chance to change at the beginning of a lane that allows it. None where a road ends
        before that.
        """
        trace = _Trace(self)
        try:
            spot = self.spot(start)
        except NoWayError:
            return None
        changed = False  # nobody changes back on the same stretch of road
        for _ in range(_LANES_MAX):
            if trace.length_m >= length_m:
                return trace.route(length_m)
            beside = [change for change in self._ways(spot.key, changes=True) if self._fits(spot, change[0])]
            if beside and not changed and rng.random() < lane_changes:
                key, option = beside[int(rng.integers(len(beside)))]
                spot, changed = trace.change(spot, key, option), True
                continue
            trace.follow(spot)
            changed = False
            onwards = [key for key, _ in self._ways(spot.key, changes=False)]
            if not onwards:
                return None
            spot = Spot(onwards[int(rng.integers(len(onwards)))], 0)
        return None

    def route_through(self, points: Sequence[Sequence[float]]) -> Route:
        """The shortest way over the lanes through all points, in their order. Raises NoWayError."""
        spots = [self.spot(point) for point in points]
        trace = _Trace(self)
        for number, (here, there) in enumerate(itertools.pairwise(spots), 1):
            try:
                path = self._path(here, there)
            except (nx.NetworkXNoPath, nx.NodeNotFound) as error:
                raise NoWayError(
                    f"no way leads from point {number} {_at(points[number - 1])} "
                    f"to point {number + 1} {_at(points[number])}"
                ) from error
            spot = here
            for key, after in itertools.pairwise(path):
                option = self.graph.edges[key, after]["option"]
                if option is RoadOption.FOLLOW:
                    trace.follow(spot)
                    spot = Spot(after, 0)
                else:
                    spot = trace.change(spot, after, option)
            trace.follow(spot, there.at)
        try:
            return trace.route(math.inf)
        except ValueError as error:
            raise NoWayError(str(error)) from error

    def spot(self, point: Sequence[float]) -> Spot:
        """The place on the nearest lane to (x, y) or (x, y, z). Raises NoWayError where there is none."""
        waypoint = self._map.get_waypoint(carla.Location(*point))
        key = None if waypoint is None else _key(waypoint)
        if key is None or key not in self.graph:
            raise NoWayError(f"point {_at(point)} is on no lane that leads anywhere")
        away = np.hypot(*(self.lane(key).xy - np.asarray(point[:2])).T)
        index = int(away.argmin())
        if away[index] > _ON_ROAD_M:
            raise NoWayError(f"point {_at(point)} is {away[index]:.0f} m from the nearest lane")
        return Spot(key, index)

    def _path(self, here: Spot, there: Spot) -> list[Key]:
        if here.key != there.key:
            return list(nx.shortest_path(self.graph, here.key, there.key, weight="cost_m"))
        if here.at <= there.at:
            return [here.key]
        # behind us on our own lane: once around
        rounds = [
            nx.shortest_path(self.graph, onwards, there.key, weight="cost_m")
            for onwards in self.graph.successors(here.key)
            if nx.has_path(self.graph, onwards, there.key)
        ]
        if not rounds:
            raise nx.NetworkXNoPath
        return [here.key, *min(rounds, key=lambda path: nx.path_weight(self.graph, path, "cost_m"))]

    def _add(self, waypoint: Any) -> None:
        key = _key(waypoint)
        if key in self.graph:
            return
        places = [w.transform.location for w in _to_lane_end(waypoint)]
        xy = np.array([(place.x, place.y) for place in places])
        lane = Lane(xy, _travelled(xy), bool(waypoint.is_junction))
        self.graph.add_node(key, lane=lane, start=waypoint)

    def _add_changes(self, key: Key) -> None:
        start = self.graph.nodes[key]["start"]
        allowed = str(start.lane_change)
        for side, option in (("Left", RoadOption.CHANGE_LEFT), ("Right", RoadOption.CHANGE_RIGHT)):
            if allowed not in (side, "Both"):
                continue
            beside = start.get_left_lane() if side == "Left" else start.get_right_lane()
            if beside is None or str(beside.lane_type) != "Driving" or beside.lane_id * start.lane_id <= 0:
                continue
            if (other := _key(beside)) in self.graph and not self.graph.has_edge(key, other):
                self.graph.add_edge(key, other, option=option, cost_m=_CHANGE_COSTS_M)

    def lane(self, key: Key) -> Lane:
        lane: Lane = self.graph.nodes[key]["lane"]
        return lane

    def _ways(self, key: Key, *, changes: bool) -> list[tuple[Key, RoadOption]]:
        edges = ((other, edge["option"]) for _, other, edge in self.graph.out_edges(key, data=True))
        return [(other, option) for other, option in edges if (option is not RoadOption.FOLLOW) is changes]

    def _fits(self, spot: Spot, other: Key) -> bool:
        """Whether a change of lane from there is over before either lane ends."""
        left = min(len(self.lane(spot.key).xy) - spot.at, len(self.lane(other).xy))
        return left * _STEP_M > 2 * _CHANGE_M


class _Trace:
    """The stretches of a route as it is found, with what each asks of the driver."""

    def __init__(self, roads: RoadMap) -> None:
        self._roads = roads
        self._stretches: list[Points] = []
        self._options: list[RoadOption] = []
        self._junction: list[bool] = []
        self.length_m = 0.0  # or a little more: what lies between two lanes is not counted

    def follow(self, spot: Spot, until: int | None = None) -> None:
        """Along the lane to its end, or to the point of that index."""
        lane = self._roads.lane(spot.key)
        last = len(lane.xy) - 1 if until is None else until
        if last >= spot.at:
            self._go(lane.xy[spot.at : last + 1], RoadOption.FOLLOW, lane.junction)
            self.length_m += float(lane.travelled_m[last] - lane.travelled_m[spot.at])

    def change(self, spot: Spot, key: Key, option: RoadOption) -> Spot:
        """Over to the lane beside; returns where on it one arrives."""
        lane, other = self._roads.lane(spot.key), self._roads.lane(key)
        here = lane.xy[spot.at : spot.at + 1]
        self._go(here, option, lane.junction)
        beside = int(np.hypot(*(other.xy - here).T).argmin())
        there = min(beside + int(_CHANGE_M / _STEP_M), len(other.xy) - 1)
        self.length_m += float(other.travelled_m[there] - other.travelled_m[beside])
        return Spot(key, there)

    def route(self, length_m: float) -> Route:
        """The route so far, cut to that length."""
        counts = [len(stretch) for stretch in self._stretches]
        xy = np.concatenate(self._stretches)
        options = np.repeat(self._options, counts)
        for first, last in _runs(np.repeat(self._junction, counts)):
            inside = options[first : last + 1]
            inside[inside == RoadOption.FOLLOW] = _turn(xy, first, last)
        travelled = _travelled(xy)
        moved = np.diff(travelled, prepend=-1.0) > 1e-3  # lanes end where the next ones begin
        wanted = moved & (np.concatenate(([0.0], travelled[:-1])) < length_m)
        return Route(xy[wanted], options[wanted])

    def _go(self, xy: Points, option: RoadOption, junction: bool) -> None:
        self._stretches.append(xy)
        self._options.append(option)
        self._junction.append(junction)


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last index of each stretch of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True)


def _turn(xy: Points, first: int, last: int) -> RoadOption:
    """What the way through a junction, and a little before and after it, asks of the driver."""
    before, after = max(first - 2, 0), min(last + 2, len(xy) - 1)
    turned = math.remainder(_heading(xy, after) - _heading(xy, before + 1), math.tau)
    if abs(turned) < _TURN_RAD:
        return RoadOption.STRAIGHT
    return RoadOption.RIGHT if turned > 0 else RoadOption.LEFT


def _travelled(xy: Points) -> NDArray[np.float64]:
    """Along the points from the first to each."""
    return np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))))


def _heading(xy: Points, index: int) -> float:
    """Of the way to the point of that index."""
    i = min(max(index, 1), len(xy) - 1)
    for j in range(i - 1, -1, -1):  # over points that coincide
        (x, y), (was_x, was_y) = xy[i].tolist(), xy[j].tolist()
        if math.hypot(x - was_x, y - was_y) > 1e-2:
            return math.atan2(y - was_y, x - was_x)
    return 0.0


def _to_lane_end(waypoint: Any) -> Iterator[Any]:
    """The waypoint and those after it in its lane and road section."""
    key = _key(waypoint)
    following = [waypoint]
    while following:
        yield following[0]
        following = [after for after in following[0].next(_STEP_M) if _key(after) == key]


def _key(waypoint: Any) -> Key:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _at(point: Sequence[float]) -> str:
    return f"({point[0]:.1f}, {point[1]:.1f})"
