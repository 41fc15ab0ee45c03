"""Restarting what fails, not too fast and not for ever (Erlang/OTP's restart intensity)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import trio

from carlad.log import get_logger

log = get_logger(__name__)

_JITTER = 0.1  # so that units which failed together do not start together


class RestartPolicy(msgspec.Struct, frozen=True):
    """The back-off doubles from `backoff_s` to `backoff_max_s`; past `restarts_max` in `period_s`: over."""

    backoff_s: float
    backoff_max_s: float
    restarts_max: int
    period_s: float


class RestartsExhaustedError(Exception):
    """A unit failed more often than its policy allows: its parent decides."""


class Restarts:
    """Pure bookkeeping of one unit's failures.

    Time counts only while the unit runs well, as told to `ran`: neither waiting nor failing to start makes
    an old failure forgotten.
    """

    def __init__(self, policy: RestartPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._service_s = 0.0
        self._failed_at_s: deque[float] = deque()

    def ran(self, seconds: float) -> None:
        """The unit ran well for so long."""
        self._service_s += seconds
        while self._failed_at_s and self._service_s - self._failed_at_s[0] >= self._policy.period_s:
            self._failed_at_s.popleft()

    def failed(self) -> float | None:
        """Seconds until the next start, with up to 10 % jitter; None where the limit is exceeded."""
        self._failed_at_s.append(self._service_s)
        count = len(self._failed_at_s)
        if count > self._policy.restarts_max:
            return None
        backoff_s = self._policy.backoff_s * 2.0 ** min(count - 1, 63)
        return min(backoff_s, self._policy.backoff_max_s) * (1 + _JITTER * self._random.random())


async def supervise(
    run: Callable[[], Awaitable[None]], policy: RestartPolicy, name: str, random: Random | None = None
) -> None:
    """Runs `run` to its end and restarts it when it fails.

    The one place where any exception is caught. A nursery of these is one_for_one. Raises
    RestartsExhaustedError past the policy's limit.
    """
    restarts = Restarts(policy, random or Random())
    while True:
        started_at = trio.current_time()
        try:
            return await run()
        except Exception as failure:  # Cancelled is not an Exception
            restarts.ran(trio.current_time() - started_at)
            backoff_s = restarts.failed()
            if backoff_s is None:
                raise RestartsExhaustedError(f"{name} failed {policy.restarts_max + 1} times") from failure
            log.exception("unit.failed", unit=name, backoff_s=backoff_s)
        await trio.sleep(backoff_s)
