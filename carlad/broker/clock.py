"""The clock that leases live by."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """Seconds that never go back within a boot, whose id says which boot it is."""

    now_s: Callable[[], float]
    boot_id: str


def boot_clock() -> Clock:
    """Linux's CLOCK_BOOTTIME: setting the time of day does not change it, and it goes on in a suspend."""
    return Clock(
        now_s=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    )
