"""When several slots cannot start for one reason, one of them tries on and the others wait.

A broken driver or installation fails every start. Retried on each slot alone it costs the fleet's size times
the attempts, and ends in as many quarantines that each look like a slot's own trouble. Pure, but that
whoever watches is told when to look again.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SLOTS_MIN = 2  # that fail alike, before it is taken for one reason


class Outbreak:
    """What starts fail of, by slot. The first of the slots that fail alike is the scout."""

    def __init__(self) -> None:
        self._failed: dict[int, str] = {}
        self._scout: int | None = None
        self._given_up: str | None = None
        self._watchers: dict[int, Callable[[], object]] = {}

    def watch(self, slot: int, look_again: Callable[[], object]) -> None:
        """`look_again` is called whenever an answer for `slot` may be another one."""
        self._watchers[slot] = look_again

    def failed(self, slot: int, reason: str) -> None:
        """A start failed."""
        cause = _cause(reason)
        if self._failed.get(slot) != cause:
            self.forget(slot)
            self._failed[slot] = cause
        alike = [other for other, why in self._failed.items() if why == cause]
        if self._scout is None and len(alike) >= SLOTS_MIN:
            self._scout = alike[0]

    def gave_up(self, slot: int, why: str) -> None:
        """It will not try any more, and so nobody who waits for it."""
        if slot == self._scout:
            self._given_up = why
            self._tell()

    def started(self) -> None:
        """A server became READY: whatever it was, it is over."""
        if self._failed:
            self._failed.clear()
            self._forget_scout()

    def forget(self, slot: int) -> None:
        """What it failed of last does not count any more."""
        self._failed.pop(slot, None)
        if slot == self._scout:
            self._forget_scout()

    def scout_of(self, slot: int) -> int | None:
        """Who tries for this slot, too; None where it may try itself."""
        if self._scout is None or self._scout == slot:
            return None
        return self._scout if self._failed.get(slot) == self._failed[self._scout] else None

    @property
    def given_up(self) -> str | None:
        """Why the scout does not try any more."""
        return self._given_up

    def _forget_scout(self) -> None:
        self._scout, self._given_up = None, None
        self._tell()

    def _tell(self) -> None:
        for look_again in self._watchers.values():
            look_again()


def _cause(reason: str) -> str:
    """Without what is a slot's own: ports and pids."""
    return re.sub(r"\d+", "#", reason)
