"""The clock that leases live by."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isinf
from pathlib import Path

import msgspec
import trio

# Timers stand still while the machine is suspended, and the leases' clock does not: what ended meanwhile is
# ended so much later at most.
_SLEEP_MAX_S = 1.0


class Clock(msgspec.Struct, frozen=True):
    """Seconds that never go back within a boot, whose id says which boot it is."""

    now_s: Callable[[], float]
    boot_id: str

    async def sleep_until(self, deadline_s: float) -> None:
        """By this clock. `inf`: until cancelled."""
        while (pause_s := deadline_s - self.now_s()) > 0:  # noqa: ASYNC110 suspends are no events
            await trio.sleep(pause_s if isinf(pause_s) else min(pause_s, _SLEEP_MAX_S))


def boot_clock() -> Clock:
    """Linux's CLOCK_BOOTTIME: setting the time of day does not change it, and it goes on in a suspend."""
    return Clock(
        now_s=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    )
