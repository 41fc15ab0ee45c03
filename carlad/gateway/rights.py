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
    SessionStatus,
    Shutdown,
    Undrain,
    Upgrade,
)

_COMMANDS = (Drain, Undrain, Restart, Quarantine, Scale, Shutdown, Reload, Upgrade)


def refusal(
    body: RequestBody,
    peer: Peer,
    leases: Iterable[LeaseStatus],
    sessions: Iterable[SessionStatus],
    operators: Collection[str],
) -> Refused | None:
    """None: it may be asked. `operators`: the users who may do everything from other machines."""
    if not peer.is_remote or peer.user in operators:
        return None
    if isinstance(body, _COMMANDS):
        return _forbidden(f"{peer.user} may lease from another machine and no more")
    if isinstance(body, Renew | Release | ReplacementQuery):
        return _refusal_of_other(
            body.lease_id, [lease.holder for lease in leases if lease.lease_id == body.lease_id], peer
        )
    if isinstance(body, CloseSession) and body.key is None:
        return _refusal_of_other(
            body.session_id, [one.holder for one in sessions if one.session_id == body.session_id], peer
        )
    return None


def _refusal_of_other(what: str, holders: Iterable[str], peer: Peer) -> Refused | None:
    """`holders`: one, or none where there is no such thing, which others will say."""
    if all(holder.partition("@")[0] == peer.user for holder in holders):
        return None
    return _forbidden(f"{what} is not {peer.user}'s")


def _forbidden(why: str) -> Refused:
    return Refused(code="forbidden", reason=f"{why}: remote.operators names who may do that from there")
