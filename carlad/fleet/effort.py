"""Does a silent server load something, such as a map, or turn in a loop, or stand still?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import msgspec

# A map load keeps a core busy, or would if it got one; threads that idle beside a stuck game thread do not.
_BUSY_CPU_SHARE = 0.2
# And it reads files, through read(2) or as mapped memory, and fills memory: a page fault for each 4 KB.
_LOADING_BYTES_PER_S = 4 << 20
_LOADING_FAULTS_PER_S = 500.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Work(Enum):
    NONE = "none"
    COMPUTES = "computes"  # and nothing else: a loop, perhaps one without an end
    LOADS = "loads"


class Effort(msgspec.Struct, frozen=True):
    """What processes have used since they started; `cpu_s`: or would have, had a core been free."""

    cpu_s: float
    read_bytes: int
    faults: int

    def work_since(self, earlier: Effort, seconds: float) -> Work:
        """What was done in the `seconds` since `earlier`."""
        loads = (
            self.read_bytes - earlier.read_bytes > _LOADING_BYTES_PER_S * seconds
            or self.faults - earlier.faults > _LOADING_FAULTS_PER_S * seconds
        )
        if loads:
            return Work.LOADS
        return Work.COMPUTES if self.cpu_s - earlier.cpu_s > _BUSY_CPU_SHARE * seconds else Work.NONE


def effort_of(pids: Iterable[int]) -> Effort:
    """All of them together; one that has ended, or may not be looked at, counts as nothing."""
    cpu_s, faults, read_bytes = 0.0, 0, 0
    for pid in pids:
        fields = _read(pid, "stat").rpartition(")")[2].split()
        if fields:  # proc_pid_stat(5): minor and major faults, user and system time of all threads
            faults += int(fields[7]) + int(fields[9])
            cpu_s += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S + _waited_s(pid)
        read_bytes += _read_bytes(pid)
    return Effort(cpu_s, read_bytes, faults)


def _waited_s(pid: int) -> float:
    """Of all threads, runnable without a core: the second field of their schedstat, in nanoseconds."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0.0
    stats = (_read(pid, f"task/{thread}/schedstat").split() for thread in threads)
    return sum(int(fields[1]) for fields in stats if fields) / 1e9


def _read_bytes(pid: int) -> int:
    """Through read(2) and its kin, from the page cache too."""
    name, _, rest = _read(pid, "io").partition(":")
    return int(rest.split()[0]) if name == "rchar" else 0


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return ""
