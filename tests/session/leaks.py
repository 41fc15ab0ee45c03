"""The check that a test left nothing behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil


def wait_until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Return once `condition()` holds; AssertionError if it does not within the time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.005)


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """AssertionError unless processes, threads and file descriptors are as before."""
    before = _inventory()
    yield
    wait_until(lambda: _inventory() == before, within_s=5.0)


def _inventory() -> tuple[list[int], list[str], int]:
    children = [child.pid for child in psutil.Process().children(recursive=True)]
    threads = [thread.name for thread in threading.enumerate()]
    return children, threads, len(os.listdir("/proc/self/fd"))
