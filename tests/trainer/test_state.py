from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainer.moments import CALM_AHEAD, ego, moment, others
from trainer.env.ahead import Hazard
from trainer.env.moment import Action
from trainer.env.route import RoadOption, Route
from trainer.env.signals import Light
from trainer.env.state import LOOKAHEAD_M, ROUTE_SIZE, carl_state, roach_state, route_state, truth
from trainer.env.surroundings import VEHICLE, WALKER


def test_a_car_on_the_route_sees_it_straight_ahead() -> None:
    seen = route_state(moment(ego(x=50.0, speed_mps=5.0), near_m=50.0, action=Action(0.3, -0.4)))
    assert seen.shape == (ROUTE_SIZE,)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[:8], [0.5, 0.5, 0.0, 0.0, 1.0, 1.0, 0.3, -0.4], atol=1e-6)
    np.testing.assert_allclose(seen[8:24:2], np.array(LOOKAHEAD_M) / 30.0, atol=1e-6)
    np.testing.assert_allclose(seen[9:24:2], 0.0, atol=1e-6)


def test_a_car_left_of_the_route_and_turned_left_sees_it_to_its_right() -> None:
    seen = route_state(moment(ego(x=50.0, y=-1.0, yaw_deg=-30.0), near_m=50.0))
    assert seen[2] == pytest.approx(-1.0 / 2.5)
    assert seen[3] == pytest.approx(math.sin(math.radians(-30.0)))
    assert (seen[9:24:2] > 0).all()


def test_the_goal_comes_nearer_and_values_stay_bounded() -> None:
    seen = route_state(moment(ego(x=90.0, speed_mps=1e6), near_m=90.0))
    assert seen[5] == pytest.approx(10.0 / 30.0)
    assert np.abs(seen).max() <= 5.0


def test_the_goal_looks_like_any_other_place_but_for_its_distance() -> None:
    before, there = (route_state(moment(ego(x=x, speed_mps=5.0), near_m=x)) for x in (50.0, 98.0))
    np.testing.assert_allclose(there[8:24], before[8:24], atol=1e-6)
    assert there[5] == pytest.approx(2.0 / 30.0)


def test_an_empty_road_ahead_is_all_ones() -> None:
    seen = route_state(moment())
    np.testing.assert_array_equal(seen[24:32], [1, 0, 0, 1, 1, 0, 1, 0])


def test_what_is_ahead_is_told() -> None:
    ahead = CALM_AHEAD._replace(
        light_m=10.0, light=Light.RED, stop_m=20.0, vehicle=Hazard(5.0, 3.0), walker=Hazard(40.0, -1.0)
    )
    np.testing.assert_allclose(
        route_state(moment(ahead=ahead))[24:32], [0.2, 0, 1, 0.4, 0.1, 0.3, 0.8, -0.1], atol=1e-6
    )


def test_the_next_command_is_one_hot() -> None:
    options = [RoadOption.FOLLOW] * 20 + [RoadOption.RIGHT] * 10
    route = Route([(float(x), 0.0) for x in range(60)], options)
    seen = route_state(moment(route=route, near_m=10.0))
    assert np.flatnonzero(seen[32:38]).tolist() == [RoadOption.RIGHT]
    assert seen[38] == pytest.approx(10.0 / 50.0)
    assert route_state(moment(route=route, near_m=25.0))[38] == 0.0


def test_scalars_of_the_layouts() -> None:
    now = moment(ego(yaw_deg=90.0, speed_mps=3.0), action=Action(0.5, -0.25), speed_limit_mps=8.5)
    np.testing.assert_allclose(carl_state(now), [0.5, 0.0, 0.25, 1.0, 3.0, 0.0, 3.0, 8.5], atol=1e-6)
    np.testing.assert_allclose(roach_state(now), [0.0, 0.5, 0.25, 1.0, 3.0, 0.0], atol=1e-6)


def test_the_truth_has_the_nearest_first_in_the_egos_frame() -> None:
    around = others((VEHICLE, 0.0, 20.0, 90.0, 5.0), (WALKER, -5.0, 0.0, 0.0, 1.0))
    rows = truth(moment(ego(yaw_deg=90.0), others=around), 3).reshape(3, 10)
    np.testing.assert_allclose(rows[0], [1, 0.0, 0.1, 0, -1, 0, -0.1, 0.4, 0.2, 1], atol=1e-6)
    np.testing.assert_allclose(rows[1], [1, 0.4, 0.0, 1, 0, 0.5, 0, 0.4, 0.2, 0], atol=1e-6)
    assert not rows[2].any()
