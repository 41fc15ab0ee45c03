"""How those stand whom a container depends on: its own daemon, or those that its training leases from."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

from carlad.client import Client
from carlad.endpoints import client_endpoints
from carlad.errors import CarladError
from carlad.image.folders import Folders
from carlad.image.trainer import Servers, servers
from carlad.messages import Status
from carlad.service import summary

_CONNECTS_WITHIN_S = 3.0
_SERVING = frozenset({"READY", "LEASED", "SCRUBBING"})


class Health(NamedTuple):
    """`alive`: somebody answers. `serving`: and has a server."""

    alive: bool
    serving: bool
    says: str


def look(environ: Mapping[str, str], folders: Folders) -> Health:
    """At the daemon of this container where there is one. Raises ConfigError."""
    if folders.socket.exists():
        return _of_daemon(f"ipc://{folders.socket}")
    chosen = servers(environ, folders)
    os.environ.update(chosen.variables)  # the client in this process finds its key there
    return look_at(chosen)


def look_at(chosen: Servers) -> Health:
    """The best of those that a training may lease from."""
    if chosen.address is not None:
        return _of_server(*chosen.address)
    found = [_of_daemon(endpoint) for endpoint in client_endpoints(chosen.endpoint)]
    return max(found, key=lambda health: (health.serving, health.alive))


def judged(status: Status) -> Health:
    """A daemon whose servers are all being replaced is alive, and nobody should be sent to it."""
    says = summary(status.slots, len(status.sessions), status.waiting)
    return Health(True, any(slot.state in _SERVING for slot in status.slots), says)


def _of_daemon(endpoint: str) -> Health:
    try:
        with Client(endpoint) as client:
            return judged(client.status())
    except CarladError as error:
        return Health(False, False, str(error))


def _of_server(host: str, port: int) -> Health:
    try:
        with socket.create_connection((host, port), _CONNECTS_WITHIN_S):
            return Health(True, True, f"{host}:{port} accepts connections")
    except OSError as error:
        return Health(False, False, f"cannot connect to {host}:{port}: {error}")
