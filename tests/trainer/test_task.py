"""What Route-v0 observes, rewards and ends: pure functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.env import reward
from trainer.env.config import RewardWeights, RouteConfig
from trainer.env.observation import LOOKAHEAD_M, SIZE, Ego, state
from trainer.env.route import Route
from trainer.env.termination import Reason, reason_to_end

CONFIG = RouteConfig()
EAST = Route([(0.0, 0.0), (100.0, 0.0)])


def ego(x: float = 0.0, y: float = 0.0, yaw_deg: float = 0.0, speed_mps: float = 0.0) -> Ego:
    return Ego(x, y, math.radians(yaw_deg), speed_mps, 0.5, 1, 0.1)


def test_a_car_on_the_route_sees_it_straight_ahead() -> None:
    vehicle = ego(x=50.0, speed_mps=5.0)
    seen = state(vehicle, EAST, EAST.place(50.0, 0.0, 50.0), steer=0.3, acceleration=-0.4)
    assert seen.shape == (SIZE,)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[:8], [0.5, 0.5, 0.0, 0.0, 1.0, 1.0, 0.3, -0.4], atol=1e-6)
    np.testing.assert_allclose(seen[8::2], np.array(LOOKAHEAD_M) / 30.0, atol=1e-6)
    np.testing.assert_allclose(seen[9::2], 0.0, atol=1e-6)


def test_a_car_left_of_the_route_and_turned_left_sees_it_to_its_right() -> None:
    vehicle = ego(x=50.0, y=-1.0, yaw_deg=-30.0)
    seen = state(vehicle, EAST, EAST.place(50.0, -1.0, 50.0), 0.0, 0.0)
    assert seen[2] == pytest.approx(-1.0 / 2.5)
    assert seen[3] == pytest.approx(math.sin(math.radians(-30.0)))
    assert (seen[9::2] > 0).all()


def test_the_goal_comes_nearer_and_values_stay_bounded() -> None:
    vehicle = ego(x=90.0, speed_mps=1e6)
    seen = state(vehicle, EAST, EAST.place(90.0, 0.0, 90.0), 0.0, 0.0)
    assert seen[5] == pytest.approx(10.0 / 30.0)
    assert np.abs(seen).max() <= 5.0


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, None),
        ({"collided": True}, Reason.COLLISION),
        ({"lateral_m": 2.6}, Reason.DEVIATION),
        ({"lateral_m": -2.6}, Reason.DEVIATION),
        ({"remaining_m": 1.9}, Reason.SUCCESS),
        ({"stood_s": 5.0}, Reason.BLOCKED),
        ({"elapsed_s": 50.0}, Reason.TIME_LIMIT),
        ({"collided": True, "remaining_m": 0.0}, Reason.COLLISION),
        ({"lateral_m": 3.0, "remaining_m": 0.0}, Reason.DEVIATION),
        ({"remaining_m": 0.0, "elapsed_s": 99.0}, Reason.SUCCESS),
    ],
)
def test_an_episode_ends_for_the_gravest_reason(now: dict[str, float], expected: Reason | None) -> None:
    calm = {"collided": False, "lateral_m": 0.0, "remaining_m": 50.0, "stood_s": 0.0, "elapsed_s": 1.0}
    assert reason_to_end(CONFIG, length_m=100.0, **{**calm, **now}) is expected  # type: ignore[arg-type]


def test_only_the_time_limit_truncates_and_success_is_no_failure() -> None:
    assert [reason for reason in Reason if reason.truncates] == [Reason.TIME_LIMIT]
    assert {reason for reason in Reason if reason.is_failure} == {
        Reason.COLLISION,
        Reason.DEVIATION,
        Reason.BLOCKED,
    }


@pytest.mark.parametrize(
    ("now", "term", "expected"),
    [
        ({"progress_m": 0.5}, "progress", 0.05),
        ({"progress_m": 3.0}, "progress", 0.08),  # 0.8 m is what the target speed makes in a tick
        ({"progress_m": -0.5}, "progress", -0.05),
        ({"speed_mps": 10.0}, "speeding", -0.1),
        ({"speed_mps": 8.0}, "speeding", 0.0),
        ({"lateral_m": -2.5}, "deviation", -0.05),
        ({"steer_change": 2.0}, "comfort", -0.05),
        ({"reason": Reason.SUCCESS}, "arrival", 5.0),
        ({"reason": Reason.BLOCKED}, "arrival", -1.0),
        ({"reason": Reason.TIME_LIMIT}, "arrival", 0.0),
    ],
)
def test_each_term_rewards_one_thing(now: dict[str, float], term: str, expected: float) -> None:
    calm = {"progress_m": 0.0, "speed_mps": 0.0, "lateral_m": 0.0, "steer_change": 0.0, "reason": None}
    terms = reward.terms(CONFIG, **{**calm, **now})  # type: ignore[arg-type]
    assert terms[term] == pytest.approx(expected)
    assert sum(abs(value) for value in terms.values()) == pytest.approx(abs(expected))


def test_a_weight_of_zero_switches_a_term_off() -> None:
    config = RouteConfig(reward=RewardWeights(progress=0.0))
    terms = reward.terms(config, progress_m=1.0, speed_mps=0.0, lateral_m=0.0, steer_change=0.0, reason=None)
    assert sum(terms.values()) == 0.0


def test_a_route_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="route_max_m 50 is below route_min_m 60"):
        RouteConfig(route_max_m=50.0)
