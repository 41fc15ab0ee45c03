"""Before a container is stopped: its servers are leased no more, and whoever holds one may give it back.

What SIGTERM does itself, with `daemon.drain_s`, but before it comes: a cluster's preStop hook, while which
the pod is taken out of its services.
"""

from __future__ import annotations

import time
from contextlib import suppress

from carlad.client import Client
from carlad.errors import RequestError
from carlad.messages import Drain

_LOOK_AGAIN_S = 0.5


def drain(endpoint: str, within_s: float) -> int:
    """How many servers were still held in the end. Raises NoDaemonError."""
    deadline_s = time.monotonic() + within_s
    with Client(endpoint) as client:
        for slot in client.status().slots:
            with suppress(RequestError):  # gone meanwhile, or drained already
                client.operate(Drain(slot=slot.slot))
        while held := sum(slot.state == "LEASED" for slot in client.status().slots):
            if time.monotonic() > deadline_s:
                return held
            time.sleep(_LOOK_AGAIN_S)
    return 0
