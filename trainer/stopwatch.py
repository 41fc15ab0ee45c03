"""Where a training's time goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by phase, since they were last taken."""

    def __init__(self) -> None:
        self._spent_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The time in here belongs to the phase `name`."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._spent_s[name] += time.perf_counter() - began_s

    def take(self) -> dict[str, float]:
        """The seconds of each phase, which begin at 0 again."""
        spent_s, self._spent_s = dict(self._spent_s), defaultdict(float)
        return spent_s
