from __future__ import annotations

import math

import pytest

from tests.trainer.moments import CALM_AHEAD, IN_LANE, ego, moment, others
from trainer.env.ahead import Hazard
from trainer.env.comfort import Comfort, collision_is_near
from trainer.env.config import RewardConfig, RouteConfig
from trainer.env.moment import Moment
from trainer.env.reward import PRESETS, Judged, Reward, desired_speed_mps
from trainer.env.signals import Light
from trainer.env.surroundings import VEHICLE
from trainer.env.termination import Reason


def terms(preset: str, now: Moment, judged: Judged | None = None, **weights: float) -> dict[str, float]:
    config = RouteConfig(reward=RewardConfig(preset=preset, weights=weights))  # type: ignore[arg-type]
    return Reward(config).terms(now, judged or Judged())


@pytest.mark.parametrize(
    ("now", "term", "expected"),
    [
        (moment(progress_m=0.5), "progress", 0.05),
        (moment(progress_m=3.0), "progress", 0.08),  # 0.8 m is what the target speed makes in a tick
        (moment(progress_m=-0.5), "progress", -0.05),
        (moment(ego(speed_mps=10.0)), "speeding", -0.1),
        (moment(ego(speed_mps=8.0)), "speeding", 0.0),
        (moment(ego(x=50.0, y=-2.5), near_m=50.0), "deviation", -0.05),
        (moment(steer_change=2.0), "comfort", -0.05),
        (moment(ego(speed_mps=0.4)), "standing", -0.03),
        (moment(ego(speed_mps=0.6)), "standing", 0.0),
        (moment(ego(), ahead=CALM_AHEAD._replace(vehicle=Hazard(14.0, 0.0))), "standing", 0.0),
        (moment(reason=Reason.SUCCESS), "success", 5.0),
        (moment(reason=Reason.BLOCKED), "failure", -1.0),
        (moment(reason=Reason.TIME_LIMIT), "failure", 0.0),
    ],
)
def test_each_simple_term_rewards_one_thing(now: Moment, term: str, expected: float) -> None:
    weights = {} if term == "standing" else {"standing": 0.0}  # who stands, stands beside all else
    found = terms("simple", now, **weights)
    assert found[term] == pytest.approx(expected)
    assert sum(abs(value) for value in found.values()) == pytest.approx(abs(expected))


@pytest.mark.parametrize(
    ("now", "term", "expected"),
    [
        (moment(ego(speed_mps=6.0)), "speed", 1.0),
        (moment(ego(speed_mps=9.0)), "speed", 0.5),
        (moment(ego(speed_mps=6.0), ahead=CALM_AHEAD._replace(stop_m=4.0)), "speed", 0.0),
        (moment(ego(x=50.0, y=1.0), near_m=50.0), "position", -0.5),
        (moment(ego(yaw_deg=90.0)), "rotation", -math.pi / 2),
        (moment(ego(yaw_deg=-90.0)), "rotation", -math.pi / 2),
        (moment(steer_change=-0.02), "action", -0.1),
        (moment(steer_change=0.01), "action", 0.0),
        (moment(ego(speed_mps=4.0), reason=Reason.RED_LIGHT), "terminal", -5.0),
        (moment(ego(speed_mps=4.0), reason=Reason.DEVIATION), "terminal", -1.0),
        (moment(ego(speed_mps=4.0), reason=Reason.SUCCESS), "terminal", 0.0),
    ],
)
def test_roachs_terms(now: Moment, term: str, expected: float) -> None:
    assert terms("roach", now)[term] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (CALM_AHEAD, 6.0),
        (CALM_AHEAD._replace(vehicle=Hazard(10.5, 0.0)), 3.0),
        (CALM_AHEAD._replace(walker=Hazard(6.0, 0.0)), 0.0),
        (CALM_AHEAD._replace(light_m=7.5, light=Light.RED), 3.0),
        (CALM_AHEAD._replace(light_m=7.5, light=Light.GREEN), 6.0),
        (CALM_AHEAD._replace(stop_m=9.0), 4.8),
    ],
)
def test_roach_wants_to_be_slow_before_what_is_in_the_way(ahead: object, expected: float) -> None:
    assert desired_speed_mps(ahead) == pytest.approx(expected)  # type: ignore[arg-type]


HALF_WAY = moment(ego(x=50.0, speed_mps=8.0), near_m=50.0, progress_m=2.0)  # 2 % of 100 m


@pytest.mark.parametrize(
    ("now", "judged", "expected"),
    [
        (HALF_WAY, Judged(), 2.0),
        (HALF_WAY._replace(lane=IN_LANE._replace(off_road=True)), Judged(), 0.0),
        (HALF_WAY._replace(lane=IN_LANE._replace(wrong_way=True)), Judged(), 0.0),
        (HALF_WAY._replace(speed_limit_mps=8.0 - 2.23 / 2), Judged(), 1.0),
        (HALF_WAY._replace(speed_limit_mps=3.0), Judged(), 0.0),
        (HALF_WAY, Judged(collision_near=True), 1.0),
        (HALF_WAY, Judged(discomfort=0.5), 1.5),
        (HALF_WAY, Judged(off_centre=True), 1.0),
        (HALF_WAY, Judged(collision_near=True, discomfort=1.0, off_centre=True), 0.25),
        (HALF_WAY._replace(reason=Reason.COLLISION), Judged(), 1.0),
        (HALF_WAY._replace(reason=Reason.STOP_SIGN), Judged(), 2.0),
        (HALF_WAY._replace(progress_m=-1.0), Judged(), 0.0),
    ],
)
def test_carl_multiplies_progress_by_factors(now: Moment, judged: Judged, expected: float) -> None:
    assert sum(terms("carl", now, judged).values()) == pytest.approx(expected)


def test_what_a_factor_takes_away_is_its_term() -> None:
    found = terms("carl", HALF_WAY, Judged(collision_near=True, off_centre=True))
    assert found["completion"] == pytest.approx(2.0)
    assert found["ttc"] == pytest.approx(-1.0)
    assert found["centre"] == pytest.approx(-0.5)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_weight_of_zero_switches_a_term_off(preset: str) -> None:
    off = dict.fromkeys(PRESETS[preset], 0.0)
    assert terms(preset, HALF_WAY._replace(reason=Reason.COLLISION), Judged(True, 1.0, True), **off) == {}


def test_a_weight_without_a_term_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reward\.weights: roach has no term progress; it has speed, "):
        terms("roach", moment(), progress=1.0)


def test_a_steady_drive_is_comfortable_and_full_brakes_are_not() -> None:
    comfort = Comfort(step_s=0.1, hold_s=2.0)
    for step in range(30):
        assert comfort.discomfort(ego(x=step * 0.8, speed_mps=8.0)) == 0.0
    braking = [comfort.discomfort(ego(speed_mps=max(8.0 - 0.8 * step, 0.0))) for step in range(10)]
    assert max(braking) >= 1 / 6
    later = [comfort.discomfort(ego()) for _ in range(40)]
    assert later[0] > 0.0
    assert later[-1] == 0.0


@pytest.mark.parametrize(
    ("row", "near"),
    [
        ((VEHICLE, 12.0, 0.0, 0.0, 0.0), True),  # stands 12 m ahead of a car that does 10 m/s
        ((VEHICLE, 12.0, 0.0, 0.0, 10.0), False),  # goes as fast
        ((VEHICLE, 12.0, 4.0, 0.0, 0.0), False),  # stands in the next lane
        ((VEHICLE, 8.0, 8.0, -90.0, 10.0), True),  # comes from the right
        ((VEHICLE, 40.0, 0.0, 0.0, 0.0), False),
        ((VEHICLE, 5.0, 3.2, 45.0, 0.0), False),  # circles overlap, boxes do not
    ],
)
def test_a_collision_is_near_where_boxes_will_meet(
    row: tuple[int, float, float, float, float], near: bool
) -> None:
    assert collision_is_near(ego(speed_mps=10.0), 2.4, 1.0, others(row)) is near
    assert not collision_is_near(ego(speed_mps=0.0), 2.4, 1.0, others(row))
