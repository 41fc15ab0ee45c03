"""Why a server died, read from how it ended and its last lines.

What CARLA and Unreal Engine 4.26 print, as people have reported it: GPU lost (carla-simulator/carla issues
2851, 6355), out of GPU memory (2956, 9725), render thread (9067), port in use (3557), Vulkan driver (4687,
8942), as root (its CarlaUE4.sh). A crash of the engine always ends in "Signal 11 caught", whatever the cause:
so the most telling line wins, not the last.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import msgspec


class Cause(str, Enum):
    """What metrics count and people search for."""

    GPU_LOST = "GPU lost"
    GPU_MEMORY = "out of GPU memory"
    RENDER_THREAD = "render thread hung"
    NO_GPU_DRIVER = "no Vulkan driver"
    PORT_IN_USE = "port in use"
    MEMORY = "out of memory"
    DISK_FULL = "disk full"
    AS_ROOT = "run as root"
    LIBRARY_MISSING = "library missing"
    MAP_MISSING = "map missing"
    ASSERTION = "assertion failed"
    SEGFAULT = "segmentation fault"
    KILLED = "killed from outside"
    EXITED = "exited"
    HUNG = "hung"  # it runs, but does not answer
    UNFIT = "not what it should be"  # it runs, and answers


# The most telling first.
_SIGNATURES: tuple[tuple[Cause, str], ...] = (
    (Cause.AS_ROOT, r"Refusing to run with the root privileges"),
    (Cause.PORT_IN_USE, r"bind: Address already in use|\bbind: Permission denied"),
    (Cause.GPU_MEMORY, r"VK_ERROR_OUT_OF_DEVICE_MEMORY|Out of (video )?memory on Vulkan|Out of video memory"),
    (Cause.RENDER_THREAD, r"timed out waiting for RenderThread"),
    (Cause.GPU_LOST, r"VK_ERROR_DEVICE_LOST"),
    (
        Cause.NO_GPU_DRIVER,
        r"[Cc]annot find a compatible Vulkan|No Vulkan driver|VK_ERROR_(INCOMPATIBLE_DRIVER|INITIALIZATION)",
    ),
    (Cause.DISK_FULL, r"No space left on device"),
    (Cause.MEMORY, r"Ran out of memory allocating|std::bad_alloc|VK_ERROR_OUT_OF_HOST_MEMORY"),
    (Cause.LIBRARY_MISSING, r"error while loading shared libraries"),
    (Cause.MAP_MISSING, r"Failed to (find|load) (package|map|object)|is not a valid map"),
    (Cause.ASSERTION, r"Assertion failed:"),
)
_SEGFAULT = r"Signal 11 caught|SIGSEGV"
_REMEDIES = {
    Cause.GPU_MEMORY: "fewer servers on that GPU, or a lower fleet.quality or fleet.resolution",
    Cause.NO_GPU_DRIVER: "see `carlactl doctor`: the NVIDIA driver and its Vulkan file are needed",
    Cause.MEMORY: "fewer servers, or more memory; a limit such as resources.memory_max_mb may be in force",
    Cause.AS_ROOT: "set fleet.user",
    Cause.DISK_FULL: "free some space where the server writes",
    Cause.LIBRARY_MISSING: "install what it names",
}
_LINE_CHARS_MAX = 200


class Verdict(msgspec.Struct, frozen=True):
    """`line`: of its output, the one that tells the cause, or its last; empty where it said nothing."""

    cause: Cause
    line: str

    def __str__(self) -> str:
        """For the end of a sentence that says how it ended."""
        said = f"it said: {self.line}" if self.line else "it said nothing"
        remedy = _REMEDIES.get(self.cause)
        named = "" if self.cause in (Cause.EXITED, Cause.KILLED) else f"{self.cause.value}; "
        return f"{named}{said}{f' ({remedy})' if remedy else ''}"


def autopsy(how: str, lines: Sequence[str], *, out_of_memory: bool = False) -> Verdict:
    """The likeliest cause of an end that nobody wanted.

    `how`: the end as `server.describe_exit` words it. `lines`: its last ones.
    `out_of_memory`: whether the kernel killed something for lack of memory while it ran.
    """
    for cause, pattern in _SIGNATURES:
        if (line := _first(pattern, lines)) is not None:
            return Verdict(cause, line)
    last = _first(r"\S", lines[::-1]) or ""
    if signal.SIGKILL.name in how:
        return Verdict(Cause.MEMORY if out_of_memory else Cause.KILLED, last)
    if signal.SIGSEGV.name in how or _first(_SEGFAULT, lines) is not None:
        return Verdict(Cause.SEGFAULT, last)
    return Verdict(Cause.EXITED, last)


def _first(pattern: str, lines: Sequence[str]) -> str | None:
    """The first line in which `pattern` is found, shortened."""
    for line in lines:
        if re.search(pattern, line):
            return line.strip()[:_LINE_CHARS_MAX]
    return None


def kernel_kills(counters: Path = Path("/proc/vmstat")) -> int:
    """How many processes the kernel has killed for lack of memory since the boot, or in a cgroup whose
    `memory.events` are given."""
    found = re.search(r"^oom_kill (\d+)$", counters.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
