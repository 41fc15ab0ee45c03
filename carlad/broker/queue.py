"""Requests that wait for a server."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from carlad.broker.lease import Lease
from carlad.messages import Acquire


class Waiting(msgspec.Struct):
    """A request for a server, or for the successor of a lease that was lost (`replaces`).

    `request_id` None: nobody has asked for that successor yet. `deadline_s` None: no end of its waiting;
    it is moved by the time that a map takes to load.
    """

    rank: tuple[float, int]
    request_id: str | None
    acquire: Acquire
    map: str | None
    ttl_s: float
    deadline_s: float | None
    replaces: Lease | None = None
    loads: int = 0  # how often a server was told to load `map` for it
    setback: str | None = None  # why the last attempt came to nothing
    is_at_quota: bool = False  # when it was last looked at
    paused_until_s: float | None = None  # after its lease could not be put on disk

    @property
    def acquire_id(self) -> str | None:
        """The request that it goes back to."""
        return self.replaces.request_id if self.replaces is not None else self.request_id

    @property
    def user(self) -> str:
        return self.acquire.holder.user


class Queue:
    """By rank, also for a request that comes back after a failed attempt.

    A request's rank is the time of its arrival less `head_start_s` for each step of its priority. So it is
    overtaken only by those of higher priority that arrive within their head start after it, and nobody who
    comes later than PRIORITY_MAX head starts is served before it: no stream of requests starves another.
    Who is to get the successor of a lost lease comes before all others.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[float, int], Waiting] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        """A snapshot: the queue may change while it is iterated."""
        return iter(list(self._waiting.values()))

    def rank(self, arrived_at_s: float) -> tuple[float, int]:
        """Where who arrives now is to stand; equal times are served in the order of calls."""
        self._arrivals += 1
        return (arrived_at_s, self._arrivals)

    def add(self, waiting: Waiting) -> None:
        """At the place that its rank gives it."""
        is_last = not self._waiting or next(reversed(self._waiting)) < waiting.rank
        self._waiting[waiting.rank] = waiting
        if not is_last:
            self._waiting = dict(sorted(self._waiting.items(), key=_by_rank))

    def remove(self, waiting: Waiting) -> None:
        """Nothing happens where it is not in the queue."""
        self._waiting.pop(waiting.rank, None)

    def position(self, waiting: Waiting) -> int:
        """1 is next; 0: not in the queue."""
        if waiting.rank not in self._waiting:
            return 0
        return list(self._waiting).index(waiting.rank) + 1


def _by_rank(item: tuple[tuple[float, int], Waiting]) -> tuple[float, int]:
    return item[0]
