"""Requests that wait for a server, first come first served, and the answers that were given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from carlad.messages import Acquire

V = TypeVar("V")


class Waiting(msgspec.Struct):
    """A request for a server. `deadline_s` is moved by the time that a map takes to load."""

    number: int  # of arrival
    request_id: str
    acquire: Acquire
    map: str | None
    ttl_s: float
    deadline_s: float
    loads: int = 0  # how often a server was told to load `map` for it
    setback: str | None = None  # why the last attempt came to nothing


class Queue:
    """In the order of arrival, also for a request that comes back after a failed attempt."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        """A snapshot: the queue may change while it is iterated."""
        return iter(list(self._waiting.values()))

    def append(self, waiting: Waiting) -> None:
        self._waiting[waiting.request_id] = waiting

    def put_back(self, waiting: Waiting) -> None:
        """At the place that its arrival gave it."""
        self._waiting[waiting.request_id] = waiting
        self._waiting = {w.request_id: w for w in sorted(self._waiting.values(), key=_by_arrival)}

    def take(self, request_id: str) -> Waiting | None:
        return self._waiting.pop(request_id, None)

    def position(self, request_id: str) -> int | None:
        """1 is next; None: not in the queue."""
        if request_id not in self._waiting:
            return None
        return list(self._waiting).index(request_id) + 1


def _by_arrival(waiting: Waiting) -> int:
    return waiting.number


class Recent(Generic[V]):
    """A memory of the newest `size` entries."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> V | None:
        return self._entries.get(key)

    def put(self, key: str, value: V) -> None:
        """The oldest entry is forgotten where there are more than `size`."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
