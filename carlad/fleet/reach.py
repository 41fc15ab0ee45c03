"""Our own way to a server: what connects here is remembered, so that it is told from others."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractAsyncContextManager

from carlad.fleet.ports import Ports
from carlad.rpc import RpcClient, WorldObserver, connect, observe_world

# Connections stay in the kernel's table for a minute after their end; a probe makes one now and then.
_REMEMBERED = 256


class Reach:
    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._own: deque[int] = deque(maxlen=_REMEMBERED)

    @property
    def own_ports(self) -> frozenset[int]:
        """Our ends of the connections that were tried lately, open or not."""
        return frozenset(self._own)

    def rpc(self) -> AbstractAsyncContextManager[RpcClient]:
        """As `carlad.rpc.connect`."""
        return connect(self.ports.host, self.ports.rpc, self._own.append)

    def world(self) -> AbstractAsyncContextManager[WorldObserver]:
        """As `carlad.rpc.observe_world`."""
        return observe_world(self.ports.host, self.ports.streaming, self._own.append)
