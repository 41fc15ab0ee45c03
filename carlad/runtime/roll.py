"""Which of several units still answer, for whoever watches over all of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping

import trio

from carlad.runtime.mailbox import NoAnswerError

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

Ask = Callable[[], Awaitable[None]]  # returns when its unit has answered; may raise NoAnswerError


async def roll_call(units: Mapping[str, Ask], within_s: float) -> dict[str, str]:
    """Who has not answered, and why. All are asked at once; empty as soon as the last one has answered."""
    silent = dict.fromkeys(units, f"no answer within {within_s:g} s")

    async def ask(name: str) -> None:
        try:
            await units[name]()
        except NoAnswerError as error:  # it is being restarted, and may answer the next time
            silent[name] = str(error)
        except ExceptionGroup as errors:  # of several that were asked together
            if errors.split(NoAnswerError)[1] is not None:
                raise
            silent[name] = "; ".join(str(error) for error in errors.exceptions)
        else:
            del silent[name]

    with trio.move_on_after(within_s):
        async with trio.open_nursery() as nursery:
            for name in units:
                nursery.start_soon(ask, name)
    return silent
