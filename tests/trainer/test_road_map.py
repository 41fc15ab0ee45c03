"""Routes over real lanes: our towns, which need no server."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import carla
import numpy as np
import pytest

from carlad.standin import towns
from trainer.env.road_map import NoWayError, RoadMap
from trainer.env.route import RoadOption, Route

TOWNS = Path(towns.__file__).parent


@lru_cache
def town(name: str) -> RoadMap:
    return RoadMap(carla.Map(name, (TOWNS / f"{name}.xodr").read_text()))


def starts(roads: RoadMap) -> list[tuple[float, float, float]]:
    places = [waypoint.transform.location for waypoint in roads._map.generate_waypoints(40.0)]
    return [(place.x, place.y, place.z) for place in places]


@lru_cache
def random_routes(name: str, lane_changes: float) -> list[Route]:
    rng = np.random.default_rng(1)
    found = [town(name).random_route(start, 150.0, rng, lane_changes) for start in starts(town(name))]
    routes = [route for route in found if route is not None]
    assert len(routes) > 0.9 * len(found)
    return routes


def turned_deg(route: Route, from_m: float, to_m: float) -> float:
    headings = np.unwrap(route.headings_rad)
    last = len(headings) - 1
    return float(np.degrees(headings[min(int(to_m), last)] - headings[max(int(from_m) - 1, 0)]))


@pytest.mark.parametrize("name", ["Town01", "Town03"])
def test_random_routes_are_as_long_as_wanted_and_drivable(name: str) -> None:
    for route in random_routes(name, 0.0):
        assert route.length_m == pytest.approx(150.0, abs=2.0)
        assert np.abs(np.diff(np.unwrap(route.headings_rad))).max() < 0.6  # no corner that a car cannot take


def test_turns_are_called_what_they_are() -> None:
    met = set()
    for route in random_routes("Town01", 0.0):
        for command in route.commands:
            if command.from_m > 20.0 and command.to_m < 130.0:  # not cut off by the route's ends
                turned = turned_deg(route, command.from_m - 3, command.to_m + 3)
                assert command.option in (RoadOption.LEFT, RoadOption.STRAIGHT, RoadOption.RIGHT)
                expected = {RoadOption.LEFT: -90.0, RoadOption.STRAIGHT: 0.0, RoadOption.RIGHT: 90.0}
                assert turned == pytest.approx(expected[command.option], abs=30.0)
                met.add(command.option)
    assert met == {RoadOption.LEFT, RoadOption.STRAIGHT, RoadOption.RIGHT}


def test_lanes_are_changed_only_where_that_is_wanted() -> None:
    changes = {RoadOption.CHANGE_LEFT, RoadOption.CHANGE_RIGHT}
    options = {command.option for route in random_routes("Town03", 1.0) for command in route.commands}
    assert changes <= options
    assert not changes & {c.option for route in random_routes("Town03", 0.0) for c in route.commands}


def test_who_changes_lanes_ends_up_beside() -> None:
    sides = []
    for route in random_routes("Town03", 1.0):
        for command in route.commands:
            inside = command.from_m > 5.0 and command.to_m < route.length_m - 3.0
            single = command.to_m - command.from_m < 20.0  # not over two lanes at once
            if command.option is RoadOption.CHANGE_RIGHT and inside and single:
                x, y = route.xy[int(command.from_m) - 1]
                heading = route.headings_rad[int(command.from_m) - 1]
                dx, dy = route.xy[int(command.to_m) + 1] - (x, y)
                sides.append(np.cos(heading) * dy - np.sin(heading) * dx)
    assert sides
    assert np.median(sides) == pytest.approx(3.5, abs=1.0)


def test_the_same_seed_gives_the_same_route() -> None:
    roads = town("Town01")
    start = starts(roads)[3]
    one, same, other = (roads.random_route(start, 300.0, np.random.default_rng(s), 0.5) for s in (7, 7, 8))
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.x == same.x
    assert one.x != other.x


def test_a_route_leads_through_its_points() -> None:
    roads = town("Town01")
    places = [starts(roads)[i] for i in (5, 60, 30)]
    route = roads.route_through(places)
    for x, y, _ in places:
        assert np.hypot(route.xy[:, 0] - x, route.xy[:, 1] - y).min() < 1.5
    assert np.hypot(*(route.xy[0] - places[0][:2])) < 1.5
    assert np.hypot(*(route.xy[-1] - places[-1][:2])) < 2.5


def test_who_has_passed_the_goal_drives_around_to_it() -> None:
    roads = town("Town01")
    waypoint = roads._map.generate_waypoints(40.0)[8]
    (beyond,) = waypoint.next(10.0)
    here, there = beyond.transform.location, waypoint.transform.location
    route = roads.route_through([(here.x, here.y), (there.x, there.y)])
    assert route.length_m > 50.0
    assert np.hypot(*(route.xy[-1] - (there.x, there.y))) < 2.5


def test_points_off_the_roads_are_refused() -> None:
    with pytest.raises(NoWayError, match=r"point \(5000.0, 5000.0\) is \d+ m from the nearest lane"):
        town("Town01").route_through([starts(town("Town01"))[0], (5000.0, 5000.0)])
