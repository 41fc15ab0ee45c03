"""A unit without a mailbox: who asks changes its state himself, in a turn that does not await.

What a mailbox does for a unit whose answers take no time, without handing over twice from task to task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

import trio

from carlad.runtime.mailbox import NoAnswerError

A = TypeVar("A")


class Turns:
    """Outlives the restarts of its unit, whose `run` serves. Before, and between two runs, turns wait."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._failed = trio.Event()
        self._failure: Exception | None = None

    async def take(self, act: Callable[[], A]) -> A:
        """What `act` returns. What it raises is the unit's failure; the asker gets NoAnswerError.

        A checkpoint only where it has to wait.
        """
        while not self._open.is_set():
            await self._open.wait()
        try:
            return act()
        except Exception as failure:
            self._open = trio.Event()
            self._failure = failure
            self._failed.set()
            raise NoAnswerError("the unit failed") from failure

    async def serve(self) -> NoReturn:
        """Until cancelled. Raises what a turn has raised."""
        self._failure, self._failed = None, trio.Event()
        self._open.set()
        try:
            await self._failed.wait()
            assert self._failure is not None
            raise self._failure
        finally:
            if self._open.is_set():  # else some wait for it already
                self._open = trio.Event()
