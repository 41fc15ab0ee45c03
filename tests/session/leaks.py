"""The check that a test left nothing behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil


def wait_until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Return once `condition()` holds; AssertionError if it does not within the time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.005)


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """AssertionError unless no process, thread or file descriptor has come to stay."""
    before = _inventory()
    yield
    gc.collect()  # a failure and the frames that it went through refer to each other
    try:
        wait_until(lambda: not _inventory() - before, within_s=5.0)
    except AssertionError:
        raise AssertionError(f"left behind: {sorted(_inventory() - before)}") from None


def _inventory() -> set[str]:
    """What is here now. Descriptors by what they are: a collected one may have been another test's."""
    children = {f"process {child.pid}" for child in psutil.Process().children(recursive=True)}
    threads = {f"thread {thread.name}" for thread in threading.enumerate()}
    descriptors = {f"descriptor of {target}" for target in _descriptors()}
    return children | threads | descriptors


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            yield os.readlink(f"/proc/self/fd/{name}")
