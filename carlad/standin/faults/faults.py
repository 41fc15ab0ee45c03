"""The faults that are in force, and when each is due.

They come from three places: the command line, a signal, a file. What the file says takes the place of what
it said before; an empty file heals what can be healed.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from carlad.standin.faults.deeds import NUISANCES, Nuisance, become_child, crash, hang, sleep_for_ever
from carlad.standin.faults.file import FaultFile
from carlad.standin.faults.kinds import KINDS, Fault

log = logging.getLogger("carlad.standin")


@dataclass
class _Armed:
    """A fault that counts from a moment (time.monotonic) and a frame; `struck` where once is enough."""

    fault: Fault
    since_s: float
    since_frame: int
    struck: bool = False

    def due(self, now_s: float, frame: int) -> bool:
        passed = frame - self.since_frame if self.fault.ticks else now_s - self.since_s
        return passed >= self.fault.amount


class Faults:
    """The faults of this process. `watched`: `look` has to be called again and again."""

    def __init__(
        self,
        at_start: Sequence[Fault] = (),
        on_signal: Sequence[Fault] = (),
        file: FaultFile | None = None,
    ) -> None:
        in_file = (file.news() if file else None) or ()
        self._given: dict[str, tuple[Fault, ...]] = {"command line": tuple(at_start), "file": in_file}
        self._on_signal = tuple(on_signal)
        self._file = file
        self._signalled = False
        self._armed: dict[str, list[_Armed]] = {}
        self._nuisances: list[Nuisance] = []
        self.watched = bool(file or on_signal or at_start)

    def __contains__(self, name: str) -> bool:
        return any(fault.name == name for fault in chain(*self._given.values()))

    def first(self, name: str) -> Fault | None:
        """The first fault of this name that is in force."""
        return next((fault for fault in chain(*self._given.values()) if fault.name == name), None)

    # --- the process's life --------------------------------------------------------------------------

    def before_start(self) -> None:
        """Strike with what goes wrong before any port is open. May not return."""
        if "fork" in self:
            become_child()
        if self._on_signal:
            signal.signal(signal.SIGUSR1, self._note_signal)
        if "ignore-sigterm" in self:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
        self._restart_nuisances()
        if "crash-at-start" in self:
            crash()
        if "never-ready" in self:
            sleep_for_ever()
        slow = self.first("slow-start")
        time.sleep(slow.amount if slow else 0.0)

    def ready(self, now_s: float) -> None:
        """From now on (time.monotonic) the time of the faults given so far is counted."""
        self._armed = {source: _arm(faults, now_s, 0) for source, faults in self._given.items()}

    def terminated(self) -> bool:
        """What SIGTERM does: crash, nothing (False), or the end that it should be (True)."""
        if "crash-at-sigterm" in self:
            crash()
        return "ignore-sigterm" not in self

    # --- while it runs -------------------------------------------------------------------------------

    def look(self, now_s: float, frame: int) -> None:
        """Take in new orders, then crash or hang where it is time to. May not return."""
        if self._signalled:
            self._signalled = False
            self._put("signal", self._on_signal, now_s, frame)
        news = self._file.news() if self._file else None
        if news is not None:
            self._put("file", news, now_s, frame)
        if self.due("crash-after", now_s, frame):
            crash()
        if self.due("hang-after", now_s, frame):
            hang()

    def due(self, name: str, now_s: float, frame: int) -> bool:
        """Whether it is time for a fault of this name, or past it."""
        return any(armed.due(now_s, frame) for armed in self._all(name))

    def strikes(self, name: str, now_s: float, frame: int) -> bool:
        """Like `due`, but only once for each order."""
        fresh = [armed for armed in self._all(name) if not armed.struck and armed.due(now_s, frame)]
        for armed in fresh:
            armed.struck = True
        return bool(fresh)

    def _all(self, name: str) -> Iterable[_Armed]:
        return (armed for armed in chain(*self._armed.values()) if armed.fault.name == name)

    def _note_signal(self, *_: object) -> None:
        self._signalled = True

    def _put(self, source: str, faults: Sequence[Fault], now_s: float, frame: int) -> None:
        late = [fault.name for fault in faults if KINDS[fault.name].start]
        if late:
            log.warning("cannot make these faults any more, the start is over: %s", ", ".join(late))
        log.info("faults by %s: %s", source, ", ".join(fault.name for fault in faults) or "none")
        self._given[source] = tuple(faults)
        self._armed[source] = _arm(faults, now_s, frame)
        self._restart_nuisances()

    def _restart_nuisances(self) -> None:
        for nuisance in self._nuisances:
            nuisance.stop()
        self._nuisances = [
            Nuisance(fault.name, fault.amount * 1e6)
            for fault in chain(*self._given.values())
            if fault.name in NUISANCES
        ]


def _arm(faults: Iterable[Fault], now_s: float, frame: int) -> list[_Armed]:
    return [_Armed(fault, now_s, frame) for fault in faults]
