"""Slots as a fleet would show them, for tests without servers."""

from __future__ import annotations

import msgspec

from carlad.messages import Acquire, Holder, SlotState, SlotStatus

HOLDER = Holder(user="ann", host="box", program="train.py", pid=7)


def status(
    slot: int,
    state: SlotState = "READY",
    *,
    incarnation: int = 1,
    map: str | None = "Town01",
    lease_id: str | None = None,
    reason: str | None = None,
) -> SlotStatus:
    """Ports depend on slot and incarnation, as a new incarnation gets others."""
    port = 27_000 + 100 * slot + 4 * (incarnation % 25)
    return SlotStatus(
        slot=slot,
        state=state,
        incarnation=incarnation,
        pid=1000 + slot,
        host="127.0.0.1",
        rpc_port=port,
        streaming_port=port + 1,
        traffic_manager_port=port + 3,
        map=map,
        lease_id=lease_id,
        restarts=0,
        reason=reason,
    )


def acquire(
    map: str | None = None,
    ttl_s: float | None = None,
    wait_s: float = 0.0,
    *,
    user: str = "ann",
    priority: int = 0,
    replace: bool = False,
    furnish: bool = True,
    started: int = 0,
) -> Acquire:
    holder = msgspec.structs.replace(HOLDER, user=user, started=started)
    return Acquire(
        holder=holder,
        map=map,
        ttl_s=ttl_s,
        wait_s=wait_s,
        priority=priority,
        replace=replace,
        furnish=furnish,
    )
