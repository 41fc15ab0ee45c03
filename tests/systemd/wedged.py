"""`carlad`, a unit of which answers nobody any more after SIGUSR1, while everything else in it goes on.

CARLAD_WEDGE names the unit.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import zmq

from carlad import cli
from carlad.fleet.slot import Slot
from carlad.gateway.router import Router
from carlad.gateway.zmq_socket import ZmqSocket
from carlad.hosts.sessions import Sessions
from carlad.runtime import Turns

# The method without which a unit answers nothing.
METHODS: dict[str, tuple[type, str]] = {
    "fleet": (Slot, "_handle"),
    "broker": (Turns, "take"),
    "sessions": (Sessions, "_answer"),
    "router": (Router, "_serve"),
    "doorkeeper": (ZmqSocket, "receive"),
}
_wedged = False


def wedge(*_signal: object) -> None:
    global _wedged
    _wedged = True


def waits_for_ever(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def until_wedged(self: object, *arguments: Any) -> Any:
        if _wedged and concerned(self):
            await trio.sleep_forever()
        return await method(self, *arguments)

    return until_wedged


def concerned(unit: object) -> bool:
    """Of all sockets the doorkeeper's alone."""
    if not isinstance(unit, ZmqSocket):
        return True
    return unit._socket.getsockopt(zmq.LAST_ENDPOINT).startswith(b"inproc://zeromq.zap")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, wedge)
    owner, name = METHODS[os.environ["CARLAD_WEDGE"]]
    setattr(owner, name, waits_for_ever(getattr(owner, name)))
    sys.exit(cli.carlad())
