"""Where environments get their CARLA servers from: leases of a carlad daemon, or fixed addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from carlad.client import lease
from carlad.session.environment import Server

_TRAFFIC_MANAGER_PORT = 8000  # CARLA's default; the environment at address i takes the i-th after it


class Held(Protocol):
    """A server that is ours until it is released or lost."""

    server: Server

    def lost(self) -> str | None:
        """Why it is no longer ours, None while it is."""

    def release(self) -> None:
        """Give it back. Never raises for a server that was lost."""


class Servers(Protocol):
    """A source of servers."""

    def acquire(self, index: int) -> Held:
        """A server for environment `index`. May wait some seconds; raises CarladError when there is none."""


class Leases:
    """Servers leased from a daemon; `endpoint` and `map` None stand for the defaults."""

    def __init__(self, endpoint: str | None, map: str | None, wait_s: float) -> None:
        self._endpoint, self._map, self._wait_s = endpoint, map, wait_s

    def acquire(self, index: int) -> Held:
        return _Leased(self._endpoint, self._map, self._wait_s)


class _Leased:
    def __init__(self, endpoint: str | None, map: str | None, wait_s: float) -> None:
        self._lease = lease(map=map, wait_s=wait_s, endpoint=endpoint)
        self.server = Server(
            self._lease.host, self._lease.rpc_port, self._lease.traffic_manager_port, self._lease.map
        )

    def lost(self) -> str | None:
        return (self._lease.lost_reason or "the lease ended") if self._lease.lost.is_set() else None

    def release(self) -> None:
        self._lease.release()


class Addresses:
    """Servers that somebody else runs, "host:port" each; environment i always gets the i-th."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._servers = [_server(address, index) for index, address in enumerate(addresses)]

    def acquire(self, index: int) -> Held:
        return _Fixed(self._servers[index])


class _Fixed:
    def __init__(self, server: Server) -> None:
        self.server = server

    def lost(self) -> str | None:
        return None  # nobody watches it for us: the environment's next call will tell

    def release(self) -> None:
        """Nothing to give back."""


def _server(address: str, index: int) -> Server:
    host, _, port = address.rpartition(":")
    return Server(host, int(port), _TRAFFIC_MANAGER_PORT + index)
