from __future__ import annotations

from random import Random

import pytest
import trio
import trio.testing

from carlad.runtime import RestartPolicy, Restarts, RestartsExhaustedError, supervise

POLICY = RestartPolicy(backoff_s=1.0, backoff_max_s=5.0, restarts_max=4, period_s=60.0)


def run(test) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


def delays(restarts: Restarts, failures: int) -> list[float | None]:
    return [restarts.failed() for _ in range(failures)]


def test_the_back_off_doubles_is_clamped_and_ends_with_the_limit():
    *waits, end = delays(Restarts(POLICY, Random(1)), 5)
    assert end is None
    for wait, least in zip(waits, [1.0, 2.0, 4.0, 5.0], strict=True):
        assert least <= wait <= 1.1 * least


def test_the_jitter_comes_from_the_given_generator():
    assert delays(Restarts(POLICY, Random(1)), 4) == delays(Restarts(POLICY, Random(1)), 4)
    assert delays(Restarts(POLICY, Random(1)), 4) != delays(Restarts(POLICY, Random(2)), 4)


def test_a_failure_is_forgotten_after_a_period_of_service_only():
    restarts = Restarts(POLICY, Random(1))
    delays(restarts, 4)
    restarts.ran(59.9)
    assert restarts.failed() is None
    restarts.ran(60.0)
    assert restarts.failed() < 1.2


def test_a_unit_that_fails_is_run_again_after_its_back_off():
    async def scenario():
        starts = []

        async def unit():
            starts.append(trio.current_time())
            if len(starts) < 3:
                raise ValueError

        await supervise(unit, POLICY, "unit", Random(1))
        first, second = starts[1] - starts[0], starts[2] - starts[1]
        assert 1.0 <= first <= 1.2
        assert 2.0 <= second <= 2.3

    run(scenario)


def test_a_unit_that_fails_too_often_is_given_up_with_its_last_failure():
    async def scenario():
        async def unit():
            raise ValueError("broken")

        with pytest.raises(RestartsExhaustedError, match="unit failed 5 times") as given_up:
            await supervise(unit, POLICY, "unit")
        assert isinstance(given_up.value.__cause__, ValueError)

    run(scenario)


def test_a_unit_that_fails_seldom_is_never_given_up():
    async def scenario():
        runs = 0

        async def unit():
            nonlocal runs
            runs += 1
            if runs <= 50:
                await trio.sleep(20)
                raise ValueError

        await supervise(unit, POLICY, "unit")
        assert runs == 51

    run(scenario)


def test_cancellation_is_not_a_failure():
    async def scenario():
        with trio.move_on_after(3) as scope:
            await supervise(trio.sleep_forever, POLICY, "unit")
        assert scope.cancelled_caught

    run(scenario)
