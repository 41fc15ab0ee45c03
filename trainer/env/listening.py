"""What a sensor measures, given to a function on one of the client's threads, and how that ends."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

_LETS_GO_WITHIN_S = 5.0  # milliseconds as a rule
_LOOKS_EVERY_S = 0.0005


def listen(sensor: Any, note: Callable[[Any], object]) -> Callable[[], None]:
    """Have `note` called with each measurement; returns what stops that.

    To stop waits until the client has let go of the function, which it does on a thread of its own. That
    takes the interpreter, and where Python ends meanwhile carla 0.9.16 aborts the process: "terminate called
    without an active exception".
    """

    def heard(measurement: Any) -> None:
        note(measurement)

    sensor.listen(heard)
    held = weakref.ref(heard)

    def stop() -> None:
        sensor.stop()
        deadline_s = time.monotonic() + _LETS_GO_WITHIN_S
        while held() is not None and time.monotonic() < deadline_s:
            time.sleep(_LOOKS_EVERY_S)

    return stop
