"""trio in virtual time, without an operating system: what waits, waits for the clock or for another task.

As soon as no task can run the clock is put to the next time that somebody waits for. An epoll that is asked
each time whether anything happened, and sleeps that are cancelled scopes, would take most of an hour's time:
here nothing happens, and who sleeps is woken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT

T = TypeVar("T")
_RUN = "trio._core._run"
_AT_ONCE = 0.0
_YIELDS = 0.3  # a share


class Bell:
    """Wakes one task, once."""

    __slots__ = ("task",)

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task: trio.lowlevel.Task | None = task

    def __call__(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def forget(self, _raise_cancel: object = None) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class VirtualClock(trio.abc.Clock):
    """Begins at 0. Times are in s."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.now_s = 0.0
        self._alarms: list[tuple[float, int, Callable[[], object]]] = []
        self._number = count()

    def start_clock(self) -> None: ...

    def current_time(self) -> float:
        return self.now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """trio asks when no task can run."""
        alarms = self._alarms
        while alarms and type(alarms[0][2]) is Bell and alarms[0][2].task is None:
            heappop(alarms)
        due_s = min(deadline, alarms[0][0]) if alarms else deadline
        if due_s == inf:
            return due_s
        self.now_s = max(self.now_s, due_s)
        while alarms and alarms[0][0] <= self.now_s:
            heappop(alarms)[2]()
        return _AT_ONCE

    def call_at(self, at_s: float, act: Callable[[], object]) -> None:
        """Between tasks, when nothing else is left to be done before."""
        heappush(self._alarms, (at_s, next(self._number), act))

    def ring_at(self, at_s: float, bell: Bell) -> None:
        heappush(self._alarms, (at_s, next(self._number), bell))

    async def sleep(self, seconds: float) -> None:
        """As trio.sleep."""
        if seconds > 0:
            await self.sleep_until(self.now_s + seconds)
        else:
            await trio.lowlevel.checkpoint()

    async def sleep_until(self, at_s: float) -> None:
        """As trio.sleep_until."""
        if at_s <= self.now_s:
            await trio.lowlevel.checkpoint()
            return
        bell = Bell(trio.lowlevel.current_task())
        if at_s < inf:
            self.ring_at(at_s, bell)
        await trio.lowlevel.wait_task_rescheduled(bell.forget)

    async def perhaps_yield(self) -> None:
        """What takes no time: sometimes others come first."""
        if self._chance.random() < _YIELDS:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def sleep_on(self, seconds: float, *, cancellable: bool) -> None:
        """As who waits for a thread does: it comes back when that is done, cancelled or not."""
        if not seconds:
            await self.perhaps_yield()
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        bell = Bell(trio.lowlevel.current_task())
        self.ring_at(self.now_s + seconds, bell)
        await trio.lowlevel.wait_task_rescheduled(bell.forget if cancellable else _goes_on)


def _goes_on(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


class _NothingOutside:
    """In the place of epoll. Only what was left for trio itself, as Ctrl-C does, wakes somebody."""

    def __init__(self) -> None:
        self._waiting: Bell | None = None

    def get_events(self, timeout_s: float) -> tuple[()]:
        queue = GLOBAL_RUN_CONTEXT.runner.entry_queue
        if self._waiting is not None and (queue.queue or queue.idempotent_queue):
            self._waiting()
            self._waiting = None
        else:
            assert timeout_s == _AT_ONCE, "every task waits for another one"
        return ()

    def process_events(self, _events: tuple[()]) -> None: ...

    async def wait_readable(self, _descriptor: object) -> None:
        """For trio's own queue; nobody else has descriptors here."""
        self._waiting = Bell(trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(self._waiting.forget)

    def force_wakeup(self) -> None: ...
    def close(self) -> None: ...


@contextmanager
def _installed(clock: VirtualClock, seed: int) -> Iterator[None]:
    """trio shuffles the tasks that can run; its own tests make that repeatable in the same way."""
    places = {
        f"{_RUN}.TheIOManager": _NothingOutside,
        f"{_RUN}._ALLOW_DETERMINISTIC_SCHEDULING": True,
        f"{_RUN}._r": Random(seed),
        "trio.sleep": clock.sleep,
        "trio.sleep_until": clock.sleep_until,
    }
    with ExitStack() as undo:
        for place, replacement in places.items():
            undo.enter_context(patch(place, replacement))
        yield


def run(main: Callable[[], Awaitable[T]], clock: VirtualClock, seed: int) -> T:
    """As trio.run. The same seed schedules the same."""
    arguments: dict[str, Any] = {"clock": clock}
    with _installed(clock, seed):
        return trio.run(main, **arguments)
