"""What those may who come in from other machines. On this one the socket's permissions decide. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from carlad.broker.holder import Peer
from carlad.messages import (
    CloseSession,
    Drain,
    LeaseStatus,
    Quarantine,
    Refused,
    Release,
    Reload,
    Renew,
    ReplacementQuery,
    RequestBody,
    Restart,
    Scale,
    Shutdown,
    Undrain,
    Upgrade,
)

_COMMANDS = (Drain, Undrain, Restart, Quarantine, Scale, Shutdown, Reload, Upgrade)


def refusal(
    body: RequestBody, peer: Peer, leases: Iterable[LeaseStatus], operators: Collection[str]
) -> Refused | None:
    """None: it may be asked. `operators`: the users who may do everything from other machines."""
    if not peer.is_remote or peer.user in operators:
        return None
    if isinstance(body, _COMMANDS) or (isinstance(body, CloseSession) and body.key is None):
        return _forbidden(f"{peer.user} may lease from another machine and no more")
    if isinstance(body, Renew | Release | ReplacementQuery):
        holder = next((lease.holder for lease in leases if lease.lease_id == body.lease_id), None)
        if holder is not None and holder.partition("@")[0] != peer.user:
            return _forbidden(f"{body.lease_id} is not {peer.user}'s")
    return None


def _forbidden(why: str) -> Refused:
    return Refused(code="forbidden", reason=f"{why}: remote.operators names who may do that from there")
