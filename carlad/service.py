"""What a service manager is told (sd_notify): READY, STATUS, STOPPING, and WATCHDOG while all is well."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import sdnotify
import trio

from carlad.log import get_logger
from carlad.messages import SlotStatus
from carlad.runtime import Ask, roll_call

log = get_logger(__name__)

_STATUS_PERIOD_S = 2.0  # where no watchdog asks for more
_PATIENCE_MAX_S = 10.0  # with units, which answer within milliseconds on a quiet machine
_FOR_EVER_US = 2.0**63  # about
_SUCCESSOR_MAX_S = 90.0  # for an interpreter, its imports and a look at all servers, on a loaded machine


class ServiceManager:
    """Does nothing where none listens."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._notifier = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.setblocking(False)  # a manager that stands still must not hold us up
        self._watchdog_s = _watchdog_s(environ)
        self._status_period_s = min(_STATUS_PERIOD_S, self._watchdog_s / 2)
        self._patience_s = min(_PATIENCE_MAX_S, self._watchdog_s / 3)
        self._silent: frozenset[str] = frozenset()

    def ready(self) -> None:
        """The daemon takes requests; servers may still be starting."""
        self._notify("READY=1")
        self._set_watchdog(self._watchdog_s)

    def making_way(self) -> None:
        """A successor in this process gets longer until it feeds the watchdog, and is `ready` then."""
        self._set_watchdog(max(self._watchdog_s, _SUCCESSOR_MAX_S))

    def stopping(self, within_s: float) -> None:
        """The manager is asked to wait so long for the end, which may be for ever."""
        within_us = int(min(within_s * 1e6, _FOR_EVER_US))
        self._notify(f"STOPPING=1\nSTATUS=ending all servers\nEXTEND_TIMEOUT_USEC={within_us}")

    async def watch(self, units: Mapping[str, Ask], status: Callable[[], str]) -> None:
        """Until cancelled. The watchdog is fed when all of `units` have answered, and else not."""
        if self._notifier is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say, status)
            nursery.start_soon(self._feed, units)

    async def _say(self, status: Callable[[], str]) -> None:
        while True:
            silent = f"; NO ANSWER from {', '.join(sorted(self._silent))}" if self._silent else ""
            self._notify(f"STATUS={status()}{silent}")
            await trio.sleep(self._status_period_s)

    async def _feed(self, units: Mapping[str, Ask]) -> None:
        """Three rounds in a watchdog's time, so that one answer may come late."""
        while True:
            asked_at_s = trio.current_time()
            found = await roll_call(units, self._patience_s)
            for unit in found.keys() - self._silent:
                log.warning("unit.silent", unit=unit, reason=found[unit])
            self._silent = frozenset(found)
            if not found:
                self._notify("WATCHDOG=1")
            await trio.sleep_until(asked_at_s + self._patience_s)

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _set_watchdog(self, seconds: float) -> None:
        if math.isfinite(self._watchdog_s):
            self._notify(f"WATCHDOG_USEC={seconds * 1e6:.0f}")

    def _notify(self, state: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(state)


def summary(slots: Iterable[SlotStatus], sessions: int, waiting: int) -> str:
    """The states of all slots, env sessions and queued requests in one line."""
    states = Counter(status.state for status in slots)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"servers: {counts or 'none'}; sessions: {sessions}; requests waiting: {waiting}"


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """How often the service manager wants to hear from this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return float("inf")
    return int(environ["WATCHDOG_USEC"]) / 1e6 if environ.get("WATCHDOG_USEC") else float("inf")
