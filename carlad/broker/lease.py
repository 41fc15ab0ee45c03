"""A lease, and what remains of it after its end. Both are records of the journal."""

from __future__ import annotations

import msgspec

from carlad.messages import Acquire, Granted, Holder, LeaseStatus, SlotStatus


def lease_name(token: int) -> str:
    """Unique for ever, as tokens are."""
    return f"lease-{token}"


class Lease(msgspec.Struct, frozen=True):
    """It ends when `expires_at_s` is reached, unless it is renewed before, and at `ends_at_s` in any case.

    `acquire` is what was asked for, with the holder as it was identified, and `request_id` its name; a
    replacement has those of the lease that it `replaces`. `map`: the server's, as it was last seen.
    `begun_at_s`: when the first of a row of replacements was granted.
    """

    token: int
    slot: int
    request_id: str
    acquire: Acquire
    map: str | None
    ttl_s: float
    begun_at_s: float
    granted_at_s: float
    expires_at_s: float
    ends_at_s: float | None = None
    replaces: str | None = None

    @property
    def lease_id(self) -> str:
        return lease_name(self.token)

    @property
    def holder(self) -> Holder:
        return self.acquire.holder

    def renewed(self, ttl_s: float, now_s: float) -> Lease:
        """As it is after a renewal."""
        expires_at_s = now_s + ttl_s
        if self.ends_at_s is not None:
            expires_at_s = min(expires_at_s, self.ends_at_s)
        return msgspec.structs.replace(self, ttl_s=ttl_s, expires_at_s=expires_at_s)

    def ends_in_s(self, now_s: float) -> float | None:
        return None if self.ends_at_s is None else max(0.0, self.ends_at_s - now_s)

    def granted(self, status: SlotStatus, now_s: float) -> Granted:
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
            ends_in_s=self.ends_in_s(now_s),
        )

    def status(self, now_s: float) -> LeaseStatus:
        return LeaseStatus(
            lease_id=self.lease_id,
            token=self.token,
            slot=self.slot,
            holder=str(self.holder),
            expires_in_s=max(0.0, self.expires_at_s - now_s),
        )


class Ended(msgspec.Struct, frozen=True):
    """`release_id`: the `Release` that ended it. `is_replaced`: by `successor`, or as soon as it can be."""

    why: str
    release_id: str | None = None
    is_replaced: bool = False
    successor: str | None = None


class Record(msgspec.Struct, frozen=True):
    """`ended` None: it lives, or was promised when the daemon ended."""

    lease: Lease
    ended: Ended | None = None
