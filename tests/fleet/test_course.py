"""How an incarnation goes: what counts when several things happen at once."""

from __future__ import annotations

import trio

from carlad.fleet.course import Course
from carlad.fleet.lifecycle import Event, State
from carlad.fleet.situation import Situation


def starting(situation: Situation) -> Course:
    situation.enter(Event.START, incarnation=1)
    return Course(situation, trio.current_time(), was_ready=False)


def test_a_server_that_is_found_fit_just_after_its_end_was_ordered_does_not_become_ready(
    situation: Situation,
) -> None:
    async def scenario() -> None:
        course = starting(situation)
        course.end("it is drained", failed=False)
        course.become_ready(map="Town01")
        assert (situation.state, situation.status.map) == (State.STOPPING, None)
        assert not course.was_ready

    trio.run(scenario)


def test_of_several_reasons_for_an_end_the_first_counts(situation: Situation) -> None:
    async def scenario() -> None:
        course = starting(situation)
        course.become_ready(map="Town01")
        course.end("was killed", failed=True)
        course.end("the slot stops", failed=False)
        assert (situation.status.reason, course.failed) == ("was killed", True)
        assert course.scope.cancel_called

    trio.run(scenario)


def test_a_server_that_somebody_holds_is_not_ended_because_it_is_unwanted(situation: Situation) -> None:
    async def scenario() -> None:
        course = starting(situation)
        course.become_ready(map="Town01")
        course.lease("L1")
        situation.standing.wants_down("it is drained")
        course.end_if_unwanted()
        assert situation.status.lease_id == "L1"

    trio.run(scenario)
