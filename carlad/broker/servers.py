"""What the broker needs of those around it: the fleet, and who listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from carlad.messages import SlotStatus
from carlad.runtime import Changes


class Servers(Protocol):
    """The fleet, as far as the broker needs it."""

    changes: Changes

    def statuses(self) -> tuple[SlotStatus, ...]: ...
    def maps(self) -> Mapping[int, frozenset[str]]: ...
    async def lease(
        self, slot: int, lease_id: str, expected: tuple[int, str | None], furnished_as: str | None
    ) -> bool: ...
    def idle_s(self, lease_id: str) -> float | None: ...
    async def load(self, slot: int, map: str) -> bool: ...
    async def release(self, slot: int, lease_id: str, reason: str) -> None: ...
    async def end(self, slot: int, lease_id: str, reason: str) -> None: ...


class Notify(Protocol):
    def __call__(
        self, event: str, *, slot: int | None = None, lease_id: str | None = None, reason: str | None = None
    ) -> None: ...
