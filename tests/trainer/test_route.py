from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.env.route import Command, RoadOption, Route

EAST_THEN_SOUTH = Route([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)])


def test_points_are_a_metre_apart_whatever_was_given() -> None:
    route = Route([(0.0, 0.0), (0.3, 0.0), (7.5, 0.0), (7.5, 0.0), (9.0, 0.0)])
    assert route.length_m == 9.0
    np.testing.assert_allclose(np.diff(route.x), 1.0)


@pytest.mark.parametrize("points", [[(1.0, 1.0), (1.0, 1.0)], [(0.0, 0.0), (0.5, 0.0)]])
def test_a_route_without_length_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="cannot make a route"):
        Route(points)


@pytest.mark.parametrize(
    ("x", "y", "near_m", "travelled_m", "lateral_m", "heading_deg"),
    [
        (4.25, 0.0, 4.0, 4.25, 0.0, 0.0),
        (4.25, 1.5, 4.0, 4.25, 1.5, 0.0),  # y is to the right of x
        (4.25, -1.5, 4.0, 4.25, -1.5, 0.0),
        (9.0, 5.0, 13.0, 15.0, 1.0, 90.0),  # heading south, west is to the right
        (11.0, 5.0, 13.0, 15.0, -1.0, 90.0),
        (-2.0, 0.0, 0.0, 0.0, 2.0, 0.0),  # before the start
        (10.0, 12.0, 19.0, 20.0, 2.0, 90.0),  # beyond the end
    ],
)
def test_a_vehicle_is_found_on_the_route(
    x: float, y: float, near_m: float, travelled_m: float, lateral_m: float, heading_deg: float
) -> None:
    place = EAST_THEN_SOUTH.place(x, y, near_m)
    assert place.travelled_m == pytest.approx(travelled_m)
    assert abs(place.lateral_m) == pytest.approx(abs(lateral_m))
    assert math.degrees(place.heading_rad) == pytest.approx(heading_deg)
    if 0.0 < travelled_m < 20.0:
        assert place.lateral_m == pytest.approx(lateral_m)


def test_a_route_that_crosses_itself_is_not_jumped_along() -> None:
    loop = Route([(0.0, 0.0), (30.0, 0.0), (30.0, 30.0), (15.0, 30.0), (15.0, -30.0)])
    assert loop.place(15.0, 0.2, near_m=14.0).travelled_m == pytest.approx(15.0)
    assert loop.place(15.0, 0.2, near_m=104.0).travelled_m > 100.0


@given(st.floats(-5, 30))
def test_the_point_at_a_distance_is_on_the_route_or_at_its_ends(travelled_m: float) -> None:
    x, y = EAST_THEN_SOUTH.point(travelled_m)
    place = EAST_THEN_SOUTH.place(x, y, min(max(travelled_m, 0.0), 20.0))
    assert place.lateral_m == pytest.approx(0.0, abs=1e-9)
    assert place.travelled_m == pytest.approx(min(max(travelled_m, 0.0), 20.0), abs=1e-6)


def test_what_is_ahead_begins_at_the_vehicle_and_reaches_the_end() -> None:
    ahead = EAST_THEN_SOUTH.ahead(17.5)
    assert ahead == [(10.0, 8.0), (10.0, 9.0), (10.0, 10.0)]


def test_points_ahead_go_straight_on_where_the_route_ends() -> None:
    found = EAST_THEN_SOUTH.points_ahead(8.5, [1, 3, 11, 30])
    np.testing.assert_allclose(found, [(9.5, 0.0), (10.0, 1.5), (10.0, 9.5), (10.0, 28.5)], atol=1e-9)
    beyond = EAST_THEN_SOUTH.points_ahead(25.0, [100])  # the vehicle itself is beyond it
    np.testing.assert_allclose(beyond, [(10.0, 110.0)], atol=1e-9)


def test_commands_hold_for_their_stretch_and_are_known_before() -> None:
    options = [RoadOption.FOLLOW] * 10 + [RoadOption.LEFT] * 5 + [RoadOption.FOLLOW] * 6
    route = Route([(float(x), 0.0) for x in range(21)], options)
    assert route.commands == [Command(RoadOption.LEFT, 10.0, 15.0)]
    for travelled_m in (0.0, 12.0):
        assert route.next_command(travelled_m).option is RoadOption.LEFT
    assert route.next_command(15.0) == Command(RoadOption.FOLLOW, 20.0, 20.0)


def test_what_is_near_a_route_is_placed_along_it() -> None:
    chosen, at_m = EAST_THEN_SOUTH.project(np.array([(4.0, 1.0), (4.0, 9.0), (9.5, 7.0)]), within_m=1.5)
    assert chosen.tolist() == [0, 2]
    assert at_m.tolist() == [4.0, 17.0]
