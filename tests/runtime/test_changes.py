from __future__ import annotations

import trio
import trio.testing

from carlad.runtime import Changes


def test_marks_between_two_waits_are_one_change():
    async def scenario():
        changes = Changes()
        for _ in range(3):
            changes.mark()
        await changes.wait()
        with trio.move_on_after(1) as second:
            await changes.wait()
        assert second.cancelled_caught

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_mark_is_not_lost_on_a_waiter_that_was_cancelled():
    async def scenario():
        changes = Changes()
        changes.mark()
        with trio.CancelScope() as scope:
            scope.cancel()
            await changes.wait()
        with trio.fail_after(1):
            await changes.wait()

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_waiter_wakes_when_marked():
    async def scenario():
        changes = Changes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(changes.wait)
            await trio.testing.wait_all_tasks_blocked()
            changes.mark()

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
