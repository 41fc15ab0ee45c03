"""Between two incarnations."""

from __future__ import annotations

from functools import partial

import trio
import trio.testing

from carlad.fleet.lifecycle import Event, State
from carlad.fleet.outbreak import Outbreak
from carlad.fleet.rest import Rest
from carlad.fleet.situation import Situation


def ended(situation: Situation) -> None:
    situation.enter(Event.START, incarnation=1)
    situation.enter(Event.END, reason="was killed")


def test_after_a_failure_the_next_start_waits(situation: Situation) -> None:
    async def scenario() -> None:
        ended(situation)
        assert await Rest(situation, Outbreak()).until_due(failed=True, may_be_shared=False)
        assert (situation.state, situation.status.restarts) == (State.BACKOFF, 1)
        assert trio.current_time() >= situation.plan.restart.backoff_s

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_slot_that_failed_itself_after_its_server_had_may_start_at_once(situation: Situation) -> None:
    async def scenario() -> None:
        ended(situation)
        rest = Rest(situation, Outbreak())
        rest.halt()
        assert await rest.until_due(failed=True, may_be_shared=False)
        assert situation.state is State.STOPPED

    trio.run(scenario)


def test_a_start_that_waits_is_not_hurried_by_another_slots_server(situation: Situation) -> None:
    async def scenario() -> None:
        ended(situation)
        outbreak = Outbreak()
        rest = Rest(situation, outbreak)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(rest.until_due, failed=True, may_be_shared=True))
            await trio.testing.wait_all_tasks_blocked()
            outbreak.started()
            await trio.testing.wait_all_tasks_blocked()
            assert situation.state is State.BACKOFF
            assert trio.current_time() == 0.0
        assert trio.current_time() >= situation.plan.restart.backoff_s

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0.1))


def test_a_start_that_waits_begins_at_once_when_it_is_asked_for(situation: Situation) -> None:
    async def scenario() -> None:
        ended(situation)
        rest = Rest(situation, Outbreak())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(rest.until_due, failed=True, may_be_shared=True))
            await trio.testing.wait_all_tasks_blocked()
            rest.look_again()
        assert trio.current_time() == 0.0

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0.1))
