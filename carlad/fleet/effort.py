"""Does a silent server work on something, such as a map, or does it stand still?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

# A map load keeps a core busy, on a crowded machine a part of one, or reads a disk; threads that idle
# beside a stuck game thread do neither.
_BUSY_CPU_SHARE = 0.2
_BUSY_READ_BYTES_PER_S = 4 << 20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Effort(msgspec.Struct, frozen=True):
    """What processes have used since they started."""

    cpu_s: float
    read_bytes: int

    def is_busy_since(self, earlier: Effort, seconds: float) -> bool:
        """Whether that much work was done in the `seconds` since `earlier`."""
        return (
            self.cpu_s - earlier.cpu_s > _BUSY_CPU_SHARE * seconds
            or self.read_bytes - earlier.read_bytes > _BUSY_READ_BYTES_PER_S * seconds
        )


def effort_of(pids: Iterable[int]) -> Effort:
    """All of them together; one that has ended, or may not be looked at, counts as nothing."""
    pids = tuple(pids)
    return Effort(sum(map(_cpu_s, pids)), sum(map(_read_bytes, pids)))


def _cpu_s(pid: int) -> float:
    """User and system time of all threads, proc(5) fields 14 and 15."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if fields else 0.0


def _read_bytes(pid: int) -> int:
    """Through read(2) and its kin, from the page cache too."""
    name, _, rest = _read(pid, "io").partition(":")
    return int(rest.split()[0]) if name == "rchar" else 0


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return ""
