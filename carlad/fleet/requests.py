"""What other units ask of a slot."""

from __future__ import annotations

import msgspec


class Lease(msgspec.Struct, frozen=True):
    lease_id: str
    expected: tuple[int, str | None] | None  # incarnation and map


class Load(msgspec.Struct, frozen=True):
    map: str


class Release(msgspec.Struct, frozen=True):
    lease_id: str
    reason: str


class End(msgspec.Struct, frozen=True):
    lease_id: str
    reason: str


class Ping(msgspec.Struct, frozen=True):
    pass


SlotRequest = Lease | Load | Release | End | Ping
