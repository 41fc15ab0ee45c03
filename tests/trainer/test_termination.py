from __future__ import annotations

from typing import Any

import pytest

from trainer.env.config import RouteConfig
from trainer.env.scores import Infraction
from trainer.env.termination import Reason, reason_to_end

ALL = RouteConfig(ends=("collision", "red_light", "stop_sign", "off_road", "deviation", "blocked"))
CALM: dict[str, Any] = {
    "new": [],
    "off_road": False,
    "lateral_m": 0.0,
    "remaining_m": 50.0,
    "stood_s": 0.0,
    "elapsed_s": 1.0,
    "length_m": 100.0,
}
STATIC, RED = Infraction.COLLISION_STATIC, Infraction.RED_LIGHT


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, None),
        ({"new": [STATIC]}, Reason.COLLISION),
        ({"new": [RED, STATIC]}, Reason.COLLISION),
        ({"new": [RED]}, Reason.RED_LIGHT),
        ({"new": [Infraction.STOP_SIGN]}, Reason.STOP_SIGN),
        ({"new": [Infraction.SOLID_LINE]}, None),
        ({"off_road": True}, Reason.OFF_ROAD),
        ({"lateral_m": 2.6}, Reason.DEVIATION),
        ({"lateral_m": -2.6, "off_road": True}, Reason.DEVIATION),
        ({"remaining_m": 1.9}, Reason.SUCCESS),
        ({"stood_s": 5.0}, Reason.BLOCKED),
        ({"elapsed_s": 50.0}, Reason.TIME_LIMIT),
        ({"new": [STATIC], "remaining_m": 0.0}, Reason.COLLISION),
        ({"lateral_m": 3.0, "remaining_m": 0.0}, Reason.DEVIATION),
        ({"remaining_m": 0.0, "elapsed_s": 99.0}, Reason.SUCCESS),
    ],
)
def test_an_episode_ends_for_the_gravest_reason(now: dict[str, Any], expected: Reason | None) -> None:
    assert reason_to_end(ALL, **{**CALM, **now}) is expected


@pytest.mark.parametrize(
    "now", [{"new": [STATIC, RED]}, {"off_road": True}, {"lateral_m": 9.0}, {"stood_s": 99.0}]
)
def test_what_is_left_out_of_ends_ends_nothing(now: dict[str, Any]) -> None:
    assert reason_to_end(RouteConfig(ends=()), **{**CALM, **now}) is None


def test_only_the_time_limit_truncates_and_all_others_but_success_are_failures() -> None:
    assert [reason for reason in Reason if reason.truncates] == [Reason.TIME_LIMIT]
    assert {reason for reason in Reason if not reason.is_failure} == {Reason.SUCCESS, Reason.TIME_LIMIT}


def test_every_end_that_can_be_configured_is_a_reason() -> None:
    assert set(ALL.ends) < {reason.value for reason in Reason}
