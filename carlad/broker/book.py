"""The live leases, and why the recent ones ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from carlad.broker import refusals
from carlad.broker.queue import Recent
from carlad.messages import Granted, Holder, LeaseStatus, Refused, SlotStatus

ENDS_KEPT = 1024


def lease_name(token: int) -> str:
    """Unique for ever, as tokens are."""
    return f"lease-{token}"


class Lease(msgspec.Struct):
    """A live lease; it ends when `expires_at_s` is reached, unless it is renewed before."""

    token: int
    slot: int
    request_id: str
    holder: Holder
    ttl_s: float
    expires_at_s: float

    @property
    def lease_id(self) -> str:
        return lease_name(self.token)

    def granted(self, status: SlotStatus) -> Granted:
        """What its holder is told; `status` is its slot's."""
        assert status.lease_id == self.lease_id, (self, status)
        assert status.rpc_port is not None, status
        assert status.streaming_port is not None, status
        assert status.traffic_manager_port is not None, status
        return Granted(
            lease_id=self.lease_id,
            token=self.token,
            slot=self.slot,
            host=status.host,
            rpc_port=status.rpc_port,
            streaming_port=status.streaming_port,
            traffic_manager_port=status.traffic_manager_port,
            map=status.map or "",
            ttl_s=self.ttl_s,
        )


class Book:
    """At most one live lease for each slot."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._ends: Recent[str] = Recent(ENDS_KEPT)

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        """A snapshot, oldest first."""
        return iter(list(self._leases.values()))

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._leases

    def __getitem__(self, lease_id: str) -> Lease:
        return self._leases[lease_id]

    def enter(self, lease: Lease) -> None:
        assert all(other.slot != lease.slot for other in self._leases.values()), lease
        self._leases[lease.lease_id] = lease

    def strike(self, lease: Lease, why: str) -> None:
        """The lease is over; who asks for it later is told why."""
        del self._leases[lease.lease_id]
        self._ends.put(lease.lease_id, why)

    def renew(self, lease: Lease, ttl_s: float | None, now_s: float) -> None:
        lease.ttl_s = lease.ttl_s if ttl_s is None else ttl_s
        lease.expires_at_s = now_s + lease.ttl_s

    def expired(self, now_s: float) -> list[Lease]:
        return [lease for lease in self if lease.expires_at_s <= now_s]

    def lost(self, slots: Mapping[int, SlotStatus]) -> list[Lease]:
        """Leases whose slot does not hold them any more."""
        return [
            lease for lease in self if lease.slot not in slots or slots[lease.slot].lease_id != lease.lease_id
        ]

    def refusal(self, verb: str, lease_id: str, token: int | None) -> Refused | None:
        """Why a holder with that lease and token may not `verb` it."""
        if lease_id not in self:
            return refusals.no_such_lease(verb, lease_id, self._ends.get(lease_id))
        if token not in (None, self[lease_id].token):
            return refusals.stale_token(verb, lease_id, token or 0, self[lease_id].token)
        return None

    def statuses(self, now_s: float) -> tuple[LeaseStatus, ...]:
        return tuple(
            LeaseStatus(
                lease_id=lease.lease_id,
                token=lease.token,
                slot=lease.slot,
                holder=str(lease.holder),
                expires_in_s=max(0.0, lease.expires_at_s - now_s),
            )
            for lease in self
        )
