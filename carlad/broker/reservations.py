"""Slots that are promised to a request and not leased yet."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import msgspec

from carlad.broker.lease import Lease
from carlad.broker.queue import Waiting
from carlad.messages import SlotStatus


class Phase(Enum):
    """How far a reservation is: its map is asked for, or loads, or its slot is being claimed."""

    ASKED = "asked"
    LOADING = "loading"
    CLAIMING = "claiming"


class Reservation(msgspec.Struct):
    """One slot for one request. `lease`: as promised, while it is claimed."""

    slot: int
    incarnation: int
    waiting: Waiting
    since_s: float
    phase: Phase = Phase.ASKED
    lease: Lease | None = None
    withdrawn: bool = False

    def has_loaded(self, status: SlotStatus | None) -> bool:
        return status is not None and status.state == "READY" and status.map == self.waiting.map

    def still_loads(self, status: SlotStatus | None) -> bool:
        return status is not None and status.state == "STARTING" and status.incarnation == self.incarnation


class Reservations:
    """At most one for each slot and each request."""

    def __init__(self) -> None:
        self._of_slot: dict[int, Reservation] = {}

    def __len__(self) -> int:
        return len(self._of_slot)

    def __iter__(self) -> Iterator[Reservation]:
        """A snapshot."""
        return iter(list(self._of_slot.values()))

    def __contains__(self, slot: object) -> bool:
        return slot in self._of_slot

    def add(self, reservation: Reservation) -> None:
        assert reservation.slot not in self._of_slot, reservation
        self._of_slot[reservation.slot] = reservation

    def drop(self, reservation: Reservation) -> None:
        del self._of_slot[reservation.slot]

    def of_slot(self, slot: int, phase: Phase) -> Reservation | None:
        """None also where the reservation is in another phase."""
        found = self._of_slot.get(slot)
        return found if found is not None and found.phase is phase else None

    def of(self, waiting: Waiting) -> Reservation | None:
        return next((r for r in self._of_slot.values() if r.waiting is waiting), None)

    def leases(self) -> frozenset[str]:
        """Those that are being claimed."""
        return frozenset(r.lease.lease_id for r in self._of_slot.values() if r.lease is not None)
