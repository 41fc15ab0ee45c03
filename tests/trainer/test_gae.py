from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.gae import advantages

GAMMA, LAMBDA = 0.9, 0.8


def estimate(
    rewards: list[float],
    values: list[float],
    last_value: float,
    terminated: list[int] | None = None,
    truncated: list[int] | None = None,
    lost: list[int] | None = None,
    final_values: dict[int, float] | None = None,
) -> NDArray[np.float32]:
    """Advantages of steps whose next values are the following ones but for `final_values` and the last."""
    steps = range(len(rewards))
    next_values = [*values[1:], last_value]
    for t, value in (final_values or {}).items():
        next_values[t] = value
    return advantages(
        np.array(rewards, np.float32),
        np.array(values, np.float32),
        np.array(next_values, np.float32),
        *(np.array([t in (ends or []) for t in steps]) for ends in (terminated, truncated)),
        np.array([t not in (lost or []) for t in steps]),
        GAMMA,
        LAMBDA,
    )


def test_the_fragments_end_is_worth_its_value() -> None:
    assert estimate([1.0], [2.0], last_value=3.0) == pytest.approx([1.0 + GAMMA * 3.0 - 2.0])


def test_a_termination_is_worth_nothing_more() -> None:
    assert estimate([1.0], [2.0], last_value=3.0, terminated=[0]) == pytest.approx([1.0 - 2.0])


def test_a_truncation_is_worth_the_value_of_its_last_observation() -> None:
    result = estimate([1.0, 0.0], [2.0, 50.0], 60.0, truncated=[0], final_values={0: 7.0})
    assert result[0] == pytest.approx(1.0 + GAMMA * 7.0 - 2.0)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_nothing_of_the_next_episode_reaches_the_one_before(end: str) -> None:
    rich = estimate([1.0, 99.0], [2.0, 3.0], 4.0, **{end: [0]}, final_values={0: 5.0})  # type: ignore[arg-type]
    poor = estimate([1.0, -99.0], [2.0, 3.0], 4.0, **{end: [0]}, final_values={0: 5.0})  # type: ignore[arg-type]
    assert rich[0] == poor[0]
    assert rich[1] != poor[1]


def test_a_lost_step_gets_nothing_and_the_one_before_bootstraps_from_its_observation() -> None:
    result = estimate(
        [1.0, 123.0, 1.0], [2.0, 3.0, 4.0], 5.0, truncated=[1], lost=[1], final_values={1: 77.0}
    )
    assert result[0] == pytest.approx(1.0 + GAMMA * 3.0 - 2.0)
    assert result[1] == 0.0
    assert result[2] == pytest.approx(1.0 + GAMMA * 5.0 - 4.0)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=12), st.floats(-5, 5))
def test_advantages_are_the_discounted_sums_of_the_residuals(
    steps: list[tuple[float, float]], last: float
) -> None:
    rewards, values = [list(column) for column in zip(*steps, strict=True)]
    residuals = [
        reward + GAMMA * after - before
        for reward, before, after in zip(rewards, values, [*values[1:], last], strict=True)
    ]
    expected = [
        sum((GAMMA * LAMBDA) ** (k - t) * residuals[k] for k in range(t, len(residuals)))
        for t in range(len(residuals))
    ]
    np.testing.assert_allclose(estimate(rewards, values, last), expected, atol=1e-4)
