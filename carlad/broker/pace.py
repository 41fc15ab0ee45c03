"""How long servers are held, from those that were given back of late."""

from __future__ import annotations

from collections import deque
from statistics import fmean

_REMEMBERED = 32


class Pace:
    def __init__(self) -> None:
        self._held_s: deque[float] = deque(maxlen=_REMEMBERED)

    def ended(self, held_s: float) -> None:
        """A lease ended after so long."""
        self._held_s.append(held_s)

    def expected_wait_s(self, held: int) -> float | None:
        """For who is next, while so many are held; None: no lease has ended yet."""
        if not self._held_s or not held:
            return None
        return fmean(self._held_s) / held
