"""A time to live as its holder counts it: when to renew, and until when to try again."""

from __future__ import annotations

import time

RENEWALS_IN_TTL = 3  # two may be missed
_RETRIES_IN_TTL = 10  # while no daemon answers
SLEEP_MAX_S = 0.5  # timers stand still while the machine is suspended, and a time to live does not
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Of the clock that leases live by: it goes on while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class TimeToLive:
    """What is held until `ttl_s` after the moment when it, or its last renewal, was asked for.

    The daemon counts from a later moment, so that who holds it never believes in it for too long. Times are
    of `now_s`.
    """

    def __init__(self, ttl_s: float, asked_at_s: float) -> None:
        self.renewed(ttl_s, asked_at_s)

    def renewed(self, ttl_s: float, asked_at_s: float) -> None:
        self._ttl_s, self._ends_at_s = ttl_s, asked_at_s + ttl_s

    @property
    def renew_in_s(self) -> float:
        """From the last renewal to the next."""
        return self._ttl_s / RENEWALS_IN_TTL

    def retry_in_s(self, now_s: float) -> float:
        """After a renewal that failed; 0: it is over."""
        return max(0.0, min(self._ends_at_s - now_s, self._ttl_s / _RETRIES_IN_TTL))


def over(trouble: str) -> str:
    """Why it is lost after its last retry."""
    return f"it could not be renewed within its time to live: {trouble}"
