"""How often bundles go out, so that who watches costs the watched next to nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

# Of the process's CPU time where processors are scarce: with what is in no account, such as colder caches, it
# stays about one per cent. Unless that were fewer pictures than RATE_MIN_HZ.
SHARE_MAX = 0.007
RATE_MIN_HZ = 5.0
SCARCE_FROM = 0.05  # of the time: ready to run, and waiting for a processor
_NEWS = 0.2  # of an average, what the newest value counts


class Reading(NamedTuple):
    """Seconds: of the wall clock, of CPU time of the process, for which this thread had to wait for a
    processor, and of CPU time of those that carry bundles to viewers."""

    wall_s: float
    cpu_s: float
    waited_s: float
    carried_s: float = 0.0


class Thrift:
    """Told what each bundle took, it says how long to wait for the next. Pure.

    Where processors are scarce viewers get fewer pictures than they ask for; where one is free, publishing
    takes nothing from anybody, and they get them all.
    """

    def __init__(self) -> None:
        self.pause_s = 0.0
        """Between two bundles, whoever they are for."""
        self._cost_s = 0.0
        self._before: Reading | None = None
        self._busy = self._waiting = 0.0  # of the time, on average

    def spent(self, cost_s: float, now: Reading) -> None:
        """A bundle took `cost_s` of CPU time to make."""
        before, self._before = self._before, now
        if before is None or now.wall_s <= before.wall_s:
            return
        cost_s += now.carried_s - before.carried_s
        self._cost_s += _NEWS * (cost_s - self._cost_s) if self._cost_s else cost_s
        elapsed_s = now.wall_s - before.wall_s
        self._busy += _NEWS * ((now.cpu_s - before.cpu_s) / elapsed_s - self._busy)
        self._waiting += _NEWS * ((now.waited_s - before.waited_s) / elapsed_s - self._waiting)
        if self._waiting < SCARCE_FROM:
            self.pause_s = 0.0
        else:
            self.pause_s = min(self._cost_s / (SHARE_MAX * max(self._busy, 1e-3)), 1 / RATE_MIN_HZ)


class Clocks:
    """Reads them for the thread that makes it. The caller closes it."""

    def __init__(self, carriers: Iterable[int] = ()) -> None:
        """`carriers`: the threads, by their kernel ids, that carry what this one makes."""
        self._waiting: int | None = None
        self._carriers: list[int] = []
        with suppress(OSError):  # a kernel without statistics: processors are never scarce there
            self._waiting = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            for thread in carriers:
                self._carriers.append(
                    os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
                )

    def read(self) -> Reading:
        """A few microseconds."""
        waited_s = _statistics_s(self._waiting)[1] if self._waiting is not None else 0.0
        carried_s = sum(_statistics_s(carrier)[0] for carrier in self._carriers)
        return Reading(time.monotonic(), time.process_time(), waited_s, carried_s)

    def close(self) -> None:
        """May be called again."""
        for descriptor in filter(None, (self._waiting, *self._carriers)):
            os.close(descriptor)
        self._waiting, self._carriers = None, []


def threads() -> frozenset[int]:
    """The kernel's ids of this process's threads."""
    return frozenset(map(int, os.listdir("/proc/self/task")))


def _statistics_s(descriptor: int) -> tuple[float, float]:
    """On a processor, and ready but waiting for one."""
    ran_ns, waited_ns, _turns = os.pread(descriptor, 80, 0).split()
    return int(ran_ns) / 1e9, int(waited_ns) / 1e9
