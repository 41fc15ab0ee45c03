"""A memory that has a limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The newest `size` entries."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[V]:
        return iter(self._entries.values())

    def get(self, key: str) -> V | None:
        return self._entries.get(key)

    def put(self, key: str, value: V) -> str | None:
        """The key of the oldest entry, which is forgotten where there are more than `size`."""
        is_new = key not in self._entries
        self._entries[key] = value
        if is_new and len(self._entries) > self._size:
            return self._entries.popitem(last=False)[0]
        return None
