"""What can be done to processes that may be gone by now."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psutil


def kill(process: psutil.Process) -> Callable[[], None]:
    with suppress(psutil.NoSuchProcess):
        process.kill()
    return lambda: None


def stop(process: psutil.Process) -> Callable[[], None]:
    def go_on() -> None:
        with suppress(psutil.NoSuchProcess):
            process.resume()

    with suppress(psutil.NoSuchProcess):
        process.suspend()
    return go_on


def running(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def shim_of(server: psutil.Process) -> psutil.Process | None:
    with suppress(psutil.Error):
        parent = server.parent()
        if parent is not None and "shim" in " ".join(parent.cmdline()):
            return parent
    return None


def command(pid: int) -> str:
    with suppress(psutil.Error):
        return f"{pid} {' '.join(psutil.Process(pid).cmdline())[:200]}"
    return str(pid)
