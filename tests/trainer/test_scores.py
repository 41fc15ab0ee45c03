from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trainer.scores import Mean, Result, Summary, bootstrap, summary, wilson


def result(**fields: object) -> Result:
    default = {
        "route": "",
        "seed": 1,
        "success": True,
        "reason": "success",
        "steps": 10,
        "episodic_return": 5.0,
        "route_completion": 1.0,
        "route_length_m": 100.0,
    }
    return msgspec.convert({**default, **fields}, Result)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Brown, Cai, DasGupta 2001, and R's binom.wilson
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (90, 100, 0.8256, 0.9448),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilsons_interval_is_the_published_one(successes: int, trials: int, low: float, high: float) -> None:
    share = wilson(successes, trials)
    assert (share.mean, share.low, share.high) == pytest.approx((successes / trials, low, high), abs=1e-4)


def test_a_bootstrapped_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        interval = bootstrap(rng.exponential(3.0, size=60).tolist())
        covered += interval.low <= 3.0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_an_interval_is_the_same_each_time_and_a_point_for_equal_values() -> None:
    assert bootstrap([1.0, 5.0, 2.0]) == bootstrap([1.0, 5.0, 2.0])
    assert bootstrap([4.0] * 3) == bootstrap([4.0]) == Mean(4.0, 4.0, 4.0)


def test_a_summary_counts_reasons_and_infractions_and_rates_them_by_distance() -> None:
    results = [
        result(infractions={"red_light": 2}, driving_score_2_0=49.0, driving_score_2_1=55.0),
        result(success=False, reason="collision", route_completion=0.5, infractions={"collision": 1}),
    ]
    seen = summary(results)
    assert (seen.episodes, seen.success_rate.mean, seen.route_completion.mean) == (2, 0.5, 0.75)
    assert seen.reasons == {"collision": 1, "success": 1}
    assert seen.infractions == {"collision": 1, "red_light": 2}
    assert seen.driven_km == pytest.approx(0.15)
    assert seen.infractions_per_km["red_light"] == pytest.approx(2 / 0.15)
    assert seen.driving_score_2_0 == Mean(49.0, 49.0, 49.0)
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Summary) == seen


def test_an_environment_without_scores_has_none() -> None:
    seen = summary([result(route_completion=0.0)])
    assert (seen.driving_score_2_0, seen.driving_score_2_1, seen.infractions_per_km) == (None, None, {})
