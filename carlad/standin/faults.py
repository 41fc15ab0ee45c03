"""Misbehaviour on demand, so that a supervisor can be tested on real processes.

| --fault | what happens |
| --- | --- |
| crash-at-start | ends by SIGSEGV before any port is open |
| crash-after=SECONDS | ends by SIGSEGV that long after it was ready |
| crash-on-load | ends by SIGSEGV when a map is to be loaded |
| hang-after=SECONDS | nothing is answered any more, SIGTERM neither; the ports stay open |
| hang-game-after=SECONDS | version and get_available_maps still answer, nothing else does, nothing ticks |
| never-ready | starts, opens no port and logs nothing |
| slow-start=SECONDS | opens its ports that much later |
| stderr-flood=MB_PER_S | writes that much to stderr, from the start on, and blocks where nobody reads |
| ignore-sigterm | SIGTERM and SIGINT change nothing |
| fork | the process only waits for a child, the server, and forwards no signal, as CarlaUE4.sh does |

Seconds are counted from the moment of being ready, where nothing else is said.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

# Each fault and the unit of its argument, None where it takes none.
FAULTS: dict[str, str | None] = {
    "crash-at-start": None,
    "crash-after": "SECONDS",
    "crash-on-load": None,
    "hang-after": "SECONDS",
    "hang-game-after": "SECONDS",
    "never-ready": None,
    "slow-start": "SECONDS",
    "stderr-flood": "MB_PER_S",
    "ignore-sigterm": None,
    "fork": None,
}
_NEVER_S = float("inf")
_FLOOD_PERIOD_S = 0.02
_FLOOD_LINE = b"LogCarla: Error: a line that nobody will ever read\n"


class FaultError(Exception):
    """There is no such fault, or its argument makes no sense."""


@dataclass(frozen=True)
class Fault:
    """`amount` in the unit that FAULTS names, 0 where there is none."""

    name: str
    amount: float = 0.0


def parse_fault(text: str) -> Fault:
    """A fault from `NAME` or `NAME=ARGUMENT`. Raises FaultError."""
    name, _equals, argument = text.partition("=")
    if name not in FAULTS:
        raise FaultError(f"cannot make the fault {name!r}: there are {', '.join(FAULTS)}")
    unit = FAULTS[name]
    if unit is None and argument:
        raise FaultError(f"cannot make the fault {text!r}: {name} takes no argument")
    if unit is None:
        return Fault(name)
    try:
        amount = float(argument)
    except ValueError:
        raise FaultError(f"cannot make the fault {text!r}: write {name}={unit}") from None
    if not 0 <= amount < _NEVER_S:
        raise FaultError(f"cannot make the fault {text!r}: {unit} must be a number of 0 or more")
    return Fault(name, amount)


class Faults:
    """The faults of this process."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._amounts = {fault.name: fault.amount for fault in faults}
        self._ready_at_s = _NEVER_S
        # No look at the clock in the event loop of a server without such faults.
        self.timed = any(name.endswith("-after") for name in self._amounts)

    def __contains__(self, name: str) -> bool:
        return name in self._amounts

    def before_start(self) -> None:
        """Strike with what goes wrong before any port is open. May not return."""
        if "fork" in self:
            _become_child()
        if "stderr-flood" in self:
            _start_flood(self._amounts["stderr-flood"] * 1e6)
        if "crash-at-start" in self:
            crash()
        if "never-ready" in self:
            _sleep_for_ever()
        time.sleep(self._amounts.get("slow-start", 0.0))

    def ready(self, now_s: float) -> None:
        """From now on (time.monotonic) the seconds of the timed faults are counted."""
        self._ready_at_s = now_s

    def strike_if_due(self, now_s: float) -> None:
        """Crash or hang where it is time to. May not return."""
        if self._due("crash-after", now_s):
            crash()
        if self._due("hang-after", now_s):
            _hang()

    def game_hangs(self, now_s: float) -> bool:
        """Whether the game thread plays dead by now."""
        return self._due("hang-game-after", now_s)

    def _due(self, name: str, now_s: float) -> bool:
        return now_s >= self._ready_at_s + self._amounts.get(name, _NEVER_S)


def crash() -> None:
    """End this process as a segmentation fault would (139 in a shell), without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    """Block for ever: only SIGKILL helps, as with a hung simulator."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _sleep_for_ever()


def _sleep_for_ever() -> None:
    while True:
        time.sleep(3600)


def _become_child() -> None:
    """Go on in a child; the parent stays behind as a shell script would and passes its status on."""
    child = os.fork()
    if child == 0:
        return
    _pid, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _start_flood(bytes_per_s: float) -> None:
    chunk = _FLOOD_LINE * max(1, round(bytes_per_s * _FLOOD_PERIOD_S / len(_FLOOD_LINE)))

    def flood() -> None:
        while True:
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
            time.sleep(_FLOOD_PERIOD_S)

    threading.Thread(target=flood, name="stderr-flood", daemon=True).start()
