"""Worked examples of the Leaderboard's scores."""

from __future__ import annotations

import pytest

from trainer.env.scores import Infraction, driving_score_2_0, driving_score_2_1

PEDESTRIAN, VEHICLE = Infraction.COLLISION_PEDESTRIAN, Infraction.COLLISION_VEHICLE
STATIC, RED, STOP = Infraction.COLLISION_STATIC, Infraction.RED_LIGHT, Infraction.STOP_SIGN


@pytest.mark.parametrize(
    ("completion", "counts", "outside", "by_2_0", "by_2_1"),
    [
        (1.0, {}, 0.0, 100.0, 100.0),
        (1.0, {PEDESTRIAN: 1}, 0.0, 50.0, 50.0),
        (1.0, {PEDESTRIAN: 2}, 0.0, 25.0, 100 / 3),
        (1.0, {VEHICLE: 1, RED: 1}, 0.0, 42.0, 100 / 2.1),
        (1.0, {RED: 3}, 0.0, 34.3, 100 / 2.2),
        (1.0, {STOP: 1}, 0.0, 80.0, 80.0),
        (0.5, {STATIC: 1}, 0.0, 32.5, 50 / 1.6),
        (0.5, {}, 0.2, 40.0, 40.0),
        (0.0, {RED: 9}, 1.0, 0.0, 0.0),
        (1.0, {Infraction.SOLID_LINE: 5, Infraction.OUTSIDE_LANES: 2}, 0.0, 100.0, 100.0),
    ],
)
def test_examples(
    completion: float, counts: dict[Infraction, int], outside: float, by_2_0: float, by_2_1: float
) -> None:
    assert driving_score_2_0(completion, counts, outside) == pytest.approx(by_2_0)
    assert driving_score_2_1(completion, counts, outside) == pytest.approx(by_2_1)
