"""Turns: state that askers change themselves, and a unit that fails by them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from carlad.runtime import NoAnswerError, Turns


def simulated(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))

    run.__name__ = test.__name__
    return run


def fail() -> None:
    raise ValueError("planted")


@simulated
async def test_a_turn_waits_until_the_unit_serves_and_is_then_taken_at_once() -> None:
    turns, taken = Turns(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take, lambda: taken.append("early"))
        await trio.testing.wait_all_tasks_blocked()
        assert taken == []
        nursery.start_soon(turns.serve)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == ["early"]
        with trio.testing.assert_no_checkpoints():
            assert await turns.take(lambda: 7) == 7
        nursery.cancel_scope.cancel()


@simulated
async def test_what_a_turn_raises_fails_the_unit_and_the_asker_hears_of_it() -> None:
    turns = Turns()
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="planted")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turns.serve)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(NoAnswerError):
                await turns.take(fail)


@simulated
async def test_turns_wait_between_two_runs_of_the_unit() -> None:
    turns, taken = Turns(), []

    async def serve_and_fail() -> None:
        with pytest.raises(ValueError, match="planted"):
            await turns.serve()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_fail)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NoAnswerError):
            await turns.take(fail)
        nursery.start_soon(turns.take, lambda: taken.append("later"))
        await trio.testing.wait_all_tasks_blocked()
        assert taken == []
        nursery.start_soon(turns.serve)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == ["later"]
        nursery.cancel_scope.cancel()
