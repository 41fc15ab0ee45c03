"""Who may what from other machines."""

from __future__ import annotations

import pytest

from carlad.broker.holder import Peer
from carlad.gateway.rights import refusal
from carlad.messages import (
    CloseSession,
    Drain,
    LeaseStatus,
    Quarantine,
    Release,
    Reload,
    Renew,
    ReplacementQuery,
    RequestBody,
    Restart,
    Scale,
    SessionStatus,
    Shutdown,
    StatusQuery,
    Undrain,
    Withdraw,
)

LEASE = LeaseStatus(lease_id="lease-1", token=1, slot=0, holder="ann@box train.py[7]", expires_in_s=9.0)
COMMANDS: list[RequestBody] = [
    Drain(slot=0),
    Undrain(slot=0),
    Restart(slot=0),
    Quarantine(slot=0),
    Scale(size=0),
    Shutdown(),
    Reload(),
]
SESSION = SessionStatus(
    session_id="session-1",
    state="SERVING",
    env="route",
    holder="ann@box train.py[7]",
    lease_id="lease-1",
    server="127.0.0.1:2000",
    host=1,
    pid=8,
    expires_in_s=9.0,
    losses=0,
    reason=None,
    telemetry="ipc:///run/1.view",
    log="session-0.log",
)
OF_HOLDERS: list[RequestBody] = [
    Renew(lease_id="lease-1"),
    Release(lease_id="lease-1", token=1),
    ReplacementQuery(lease_id="lease-1"),
    CloseSession(session_id="session-1"),
]
OF_ALL: list[RequestBody] = [
    StatusQuery(),
    Withdraw(request_id="a"),
    Release(lease_id="lease-2"),
    CloseSession(session_id="session-1", key="secret"),
    CloseSession(session_id="session-2"),
]


def is_refused(body: RequestBody, user: str, is_remote: bool = True) -> bool:
    peer = Peer(user=user, is_remote=is_remote)
    return refusal(body, peer, [LEASE], [SESSION], operators=("root",)) is not None


@pytest.mark.parametrize("body", [*COMMANDS, *OF_HOLDERS], ids=lambda body: type(body).__name__)
def test_what_concerns_others_is_for_operators_and_this_machine(body: RequestBody) -> None:
    assert is_refused(body, "bob")
    assert not is_refused(body, "root")
    assert not is_refused(body, "bob", is_remote=False)


@pytest.mark.parametrize("body", OF_HOLDERS, ids=lambda body: type(body).__name__)
def test_a_lease_or_a_session_is_its_holder_s(body: RequestBody) -> None:
    assert not is_refused(body, "ann")
    assert is_refused(body, "an")


@pytest.mark.parametrize("body", OF_ALL, ids=lambda body: type(body).__name__)
def test_what_concerns_nobody_else_is_for_all(body: RequestBody) -> None:
    assert not is_refused(body, "bob")
