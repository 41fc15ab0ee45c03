"""How a process does what the faults say."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable

_PERIOD_S = 0.02
_FLOOD_LINE = b"LogCarla: Error: a line that nobody will ever read\n"


def crash() -> None:
    """End this process as a segmentation fault would (139 in a shell), without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    """Block for ever: only SIGKILL helps, as with a hung simulator."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sleep_for_ever()


def sleep_for_ever() -> None:
    while True:
        time.sleep(3600)


def become_child() -> None:
    """Go on in a child; the parent stays behind as a shell script would and passes its status on."""
    child = os.fork()
    if child == 0:
        return
    _pid, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


class Nuisance:
    """A thread that does something again and again, `bytes_per_s` in all, until `stop`."""

    def __init__(self, name: str, bytes_per_s: float) -> None:
        self._stopped = threading.Event()
        act = _DEEDS[name](round(bytes_per_s * _PERIOD_S))
        threading.Thread(target=self._run, args=(act,), name=name, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self, act: Callable[[], object]) -> None:
        while not self._stopped.wait(_PERIOD_S):
            act()


def _flooding(chunk_bytes: int) -> Callable[[], object]:
    chunk = _FLOOD_LINE * max(1, round(chunk_bytes / len(_FLOOD_LINE)))

    def flood() -> None:
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()

    return flood


def _leaking(chunk_bytes: int) -> Callable[[], object]:
    leaked: list[bytes] = []
    # Repeating a byte other than zero touches every page, so that the memory is really taken.
    return lambda: leaked.append(b"\xa5" * chunk_bytes)


def _filling(chunk_bytes: int) -> Callable[[], object]:
    chunk = b"\xa5" * chunk_bytes

    def fill() -> None:
        with mmap.mmap(-1, chunk_bytes) as fresh:  # pages that nobody has had yet
            fresh.write(chunk)

    return fill


_DEEDS = {"stderr-flood": _flooding, "leak": _leaking, "slow-load": _filling}
NUISANCES = ("stderr-flood", "leak")  # those that go on all the while
