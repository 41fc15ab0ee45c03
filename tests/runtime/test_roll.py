"""The roll call: who answers, who does not, and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from carlad.runtime import NoAnswerError, roll_call


async def answers() -> None:
    await trio.sleep(1)


async def is_silent() -> None:
    await trio.sleep_forever()


async def is_restarted() -> None:
    raise NoAnswerError("it failed")


async def are_restarted() -> None:
    async with trio.open_nursery():
        raise NoAnswerError("one of them failed")


def called(**units: Callable[[], Awaitable[None]]) -> tuple[dict[str, str], float]:
    """Who was silent, and how long it took."""

    async def call() -> tuple[dict[str, str], float]:
        began_s = trio.current_time()
        return await roll_call(units, within_s=10), trio.current_time() - began_s

    return trio.run(call, clock=trio.testing.MockClock(autojump_threshold=0))


def test_it_ends_with_the_last_answer() -> None:
    assert called(router=answers, broker=answers) == ({}, 1)
    assert called() == ({}, 0)


def test_whoever_is_silent_is_named_with_the_reason() -> None:
    silent, took_s = called(
        router=is_silent, broker=is_restarted, fleet=are_restarted, sessions=answers, notices=is_silent
    )
    assert took_s == 10
    assert silent == {
        "router": "no answer within 10 s",
        "notices": "no answer within 10 s",
        "broker": "it failed",
        "fleet": "one of them failed",
    }


def test_a_defect_is_not_taken_for_silence() -> None:
    async def is_broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(BaseException) as failed:  # noqa: PT011 a group: of which, is asked below
        called(router=is_broken)
    assert isinstance(failed.value.exceptions[0], ZeroDivisionError)  # type: ignore[attr-defined]
