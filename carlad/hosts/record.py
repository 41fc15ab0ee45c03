"""What must survive the daemon of a session that serves, so that the next one takes it back."""

from __future__ import annotations

import msgspec

from carlad.broker.holder import Peer
from carlad.config import EnvSection
from carlad.messages import Granted, OpenSession, SessionOpened

KIND = "session"


class SessionRecord(msgspec.Struct, frozen=True):
    """As of the moment when its env host began to serve; `opened` has that host's secret. `port`: the first
    of those for other machines."""

    request_id: str
    asked: OpenSession
    env: EnvSection
    peer: Peer
    uid: int
    ttl_s: float
    log: int
    losses: int
    opened: SessionOpened
    granted: Granted
    port: int | None = None
