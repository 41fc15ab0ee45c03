"""What a service manager is told (sd_notify): READY, STATUS, STOPPING, and WATCHDOG while all is well."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

import sdnotify
import trio

from carlad.log import get_logger
from carlad.messages import SlotStatus
from carlad.runtime import NoAnswerError

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

log = get_logger(__name__)

_STATUS_PERIOD_S = 2.0  # where no watchdog asks for more
_SUCCESSOR_MAX_S = 90.0  # for an interpreter, its imports and a look at all servers, on a loaded machine


class ServiceManager:
    """Does nothing where none listens."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._notifier = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.setblocking(False)  # a manager that stands still must not hold us up
        self._watchdog_s = _watchdog_s(environ)
        self._period_s = min(_STATUS_PERIOD_S, self._watchdog_s / 2)

    def ready(self) -> None:
        """The daemon takes requests; servers may still be starting."""
        self._notify("READY=1")
        self._set_watchdog(self._watchdog_s)

    def making_way(self) -> None:
        """A successor in this process gets longer until it feeds the watchdog, and is `ready` then."""
        self._set_watchdog(max(self._watchdog_s, _SUCCESSOR_MAX_S))

    def stopping(self, within_s: float) -> None:
        """The manager is asked to wait so long for the end."""
        self._notify(f"STOPPING=1\nSTATUS=ending all servers\nEXTEND_TIMEOUT_USEC={within_s * 1e6:.0f}")

    async def watch(self, ping: Callable[[], Awaitable[None]], status: Callable[[], str]) -> None:
        """Until cancelled. `ping` returns when every unit has answered: else the watchdog is not fed."""
        while self._notifier is not None:
            self._notify(f"STATUS={status()}")
            with trio.move_on_after(self._period_s) as patience:
                if await _answers(ping):
                    self._notify("WATCHDOG=1")
                await trio.sleep(patience.deadline - trio.current_time())

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


async def _answers(ping: Callable[[], Awaitable[None]]) -> bool:
    try:
        await ping()
    except NoAnswerError as error:  # a unit that is being restarted may answer the next time
        log.warning("unit.silent", reason=error)
        return False
    except ExceptionGroup as errors:  # of units that were asked together
        if errors.split(NoAnswerError)[1] is not None:
            raise
        log.warning("unit.silent", reason=errors)
        return False
    return True


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """How often the service manager wants to hear from this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return float("inf")
    return int(environ["WATCHDOG_USEC"]) / 1e6 if environ.get("WATCHDOG_USEC") else float("inf")
