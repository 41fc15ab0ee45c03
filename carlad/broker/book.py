"""The live leases, and what became of the recent ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from carlad.broker import refusals
from carlad.broker.lease import Ended, Lease, Record
from carlad.broker.recent import Recent
from carlad.journal import Change, Delete, Put
from carlad.messages import Refused, SlotStatus

KIND = "lease"  # of its records in the journal
ENDS_KEPT = 1024


class Book:
    """At most one live lease for each slot. Every change of it is to be written: see `unwritten`."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """`records`: what was written of an earlier one."""
        self._live: dict[str, Lease] = {}
        self._past: Recent[Record] = Recent(ENDS_KEPT)
        self._unreplaced: dict[str, Lease] = {}
        self._unwritten: dict[str, Change] = {}
        for record in sorted(records, key=_by_token):
            if record.ended is None:
                self.enter(record.lease)
            else:
                self._remember(record.lease, record.ended)
            if record.lease.replaces is not None:  # so that nobody else comes to replace it
                self.replace(record.lease.replaces, record.lease.lease_id)

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Lease]:
        """A snapshot, oldest first."""
        return iter(list(self._live.values()))

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._live

    def __getitem__(self, lease_id: str) -> Lease:
        return self._live[lease_id]

    # --- changes -----------------------------------------------------------------------------------

    def promise(self, lease: Lease) -> None:
        """It is written, so that its slot may be leased, and not live yet."""
        self._write(Record(lease))

    def break_promise(self, lease: Lease) -> None:
        self._unwritten[lease.lease_id] = Delete(KIND, lease.lease_id)

    def enter(self, lease: Lease) -> None:
        """What was promised is live."""
        assert all(other.slot != lease.slot for other in self._live.values()), lease
        self._live[lease.lease_id] = lease

    def renew(self, lease_id: str, ttl_s: float | None, now_s: float) -> Lease:
        lease = self._live[lease_id]
        self._change(lease.renewed(lease.ttl_s if ttl_s is None else ttl_s, now_s))
        return self._live[lease_id]

    def strike(self, lease: Lease, ended: Ended) -> None:
        """The lease is over."""
        del self._live[lease.lease_id]
        self._end(lease, ended)

    def replace(self, lease_id: str, successor: str) -> None:
        """A lease that was lost has a successor."""
        self._amend(lease_id, successor=successor)

    def give_up(self, lease_id: str, why: str) -> None:
        """A lease that was lost will have no successor."""
        lost = self._ended(lease_id)
        if lost is not None:
            self._amend(lease_id, is_replaced=False, why=f"{lost.why}; it is not replaced: {why}")

    def see(self, slots: Mapping[int, SlotStatus]) -> None:
        """Holders load maps, too."""
        for lease in self._live.values():
            status = slots.get(lease.slot)
            if (
                status is not None
                and status.lease_id == lease.lease_id
                and status.map not in (None, lease.map)
            ):
                self._change(msgspec.structs.replace(lease, map=status.map))

    def unwritten(self) -> tuple[Change, ...]:
        """What changed since the last call. Nothing may follow from it before that is on disk."""
        changes = tuple(self._unwritten.values())
        self._unwritten.clear()
        return changes

    # --- what is so --------------------------------------------------------------------------------

    def expired(self, now_s: float) -> list[Lease]:
        return [lease for lease in self if lease.expires_at_s <= now_s]

    def lost(self, slots: Mapping[int, SlotStatus]) -> list[Lease]:
        """Leases whose slot does not hold them any more."""
        return [
            lease for lease in self if lease.slot not in slots or slots[lease.slot].lease_id != lease.lease_id
        ]

    def unreplaced(self) -> list[Lease]:
        """Those that were lost and wait for a successor, oldest first."""
        return list(self._unreplaced.values())

    def newest(self, lease_id: str) -> str:
        """The lease that came in the place of the one that came in its place, and so on."""
        while (ended := self._ended(lease_id)) is not None and ended.successor is not None:
            lease_id = ended.successor
        return lease_id

    def of_request(self, request_id: str) -> str | None:
        """The lease which that request got, if it lives or is replaced."""
        for lease in (*self._live.values(), *self._unreplaced.values()):
            if lease.request_id == request_id:
                return lease.lease_id
        return None

    def request_of(self, lease_id: str) -> str | None:
        """The request that got it, or the lease that it replaces; None where it is not remembered."""
        lease = self._known(lease_id)
        return None if lease is None else lease.request_id

    def was_released_by(self, request_id: str, lease_id: str) -> bool:
        ended = self._ended(lease_id)
        return ended is not None and ended.release_id == request_id

    def refusal(self, verb: str, lease_id: str, token: int | None) -> Refused | None:
        """Why a holder with that lease and token may not `verb` it."""
        if lease_id not in self._live:
            return refusals.no_such_lease(verb, lease_id, self._ended(lease_id))
        return self.stale(verb, lease_id, token)

    def stale(self, verb: str, lease_id: str, token: int | None) -> Refused | None:
        """Why that is not the token of a lease that lives or lived."""
        lease = self._known(lease_id)
        if lease is None or token in (None, lease.token):
            return None
        return refusals.stale_token(verb, lease_id, token or 0, lease.token)

    # --- writing -----------------------------------------------------------------------------------

    def _change(self, lease: Lease) -> None:
        self._live[lease.lease_id] = lease
        self._write(Record(lease))

    def _known(self, lease_id: str) -> Lease | None:
        record = self._past.get(lease_id)
        return self._live.get(lease_id) or (record.lease if record else None)

    def _ended(self, lease_id: str) -> Ended | None:
        record = self._past.get(lease_id)
        return record.ended if record is not None else None

    def _amend(self, lease_id: str, **changes: object) -> None:
        record = self._past.get(lease_id)
        if record is not None and record.ended is not None:  # else forgotten by now
            self._end(record.lease, msgspec.structs.replace(record.ended, **changes))

    def _end(self, lease: Lease, ended: Ended) -> None:
        self._write(Record(lease, ended))
        self._remember(lease, ended)

    def _remember(self, lease: Lease, ended: Ended) -> None:
        if ended.is_replaced and ended.successor is None:
            self._unreplaced[lease.lease_id] = lease
        else:
            self._unreplaced.pop(lease.lease_id, None)
        if (forgotten := self._past.put(lease.lease_id, Record(lease, ended))) is not None:
            self._unreplaced.pop(forgotten, None)
            self._unwritten[forgotten] = Delete(KIND, forgotten)

    def _write(self, record: Record) -> None:
        self._unwritten[record.lease.lease_id] = Put(KIND, record.lease.lease_id, record)


def _by_token(record: Record) -> int:
    return record.lease.token
