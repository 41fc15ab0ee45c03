"""What the tests of telemetry share."""

from __future__ import annotations

import time
from collections.abc import Callable

from carlad.telemetry import Bundle


def bundle_of(tick: int, **fields: object) -> Bundle:
    """A bundle with nothing in it but its tick."""
    given = {
        "session": "env-0",
        "episode": 1,
        "frame": tick,
        "sim_time_s": 0.0,
        "server": "h:1",
        "map": "Grid",
    }
    return Bundle(tick=tick, **{**given, **fields})  # type: ignore[arg-type]


def wait_until(condition: Callable[[], object], within_s: float = 30.0) -> None:
    """Return once `condition()` holds; AssertionError if it does not within the time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.002)
