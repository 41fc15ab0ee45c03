"""Where the fleet gets its simulated servers, and what becomes of them when a daemon is killed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from carlad.errors import ServerError
from carlad.fleet.backends.interface import Serving
from carlad.fleet.ports import PortRegistry, Ports
from carlad.runtime import RestartPolicy
from tests.simulation.server import SimServer

Start = Callable[[Ports], SimServer]
LATER_DAEMON = "a later daemon ended it"
_END_S = 0.2  # between TERM and the end


class Yard:
    """The servers of a machine, by run folder: they outlive daemons."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.servers: dict[Path, SimServer] = {}

    def running(self) -> list[SimServer]:
        return [server for server in self.servers.values() if server.how is None]


class SimBackend:
    """`is_killed`: whether the daemon whose backend this is was: then nothing is ended any more."""

    shares_fate = True

    def __init__(self, yard: Yard, registry: PortRegistry, is_killed: Callable[[], bool]) -> None:
        self._yard, self._registry, self._is_killed = yard, registry, is_killed

    def policy(self, configured: RestartPolicy) -> RestartPolicy:
        return configured

    @contextmanager
    def place(self, previous: Ports | None, slot: int = 0) -> Iterator[Ports]:
        ports = self._registry.take(previous)
        try:
            yield ports
        finally:
            self._registry.give_back(ports)

    @contextmanager
    def place_again(self, ports: Ports) -> Iterator[Ports]:
        self._registry.hold(ports)
        try:
            yield ports
        finally:
            self._registry.give_back(ports)

    async def clear(self, keep: Collection[Ports]) -> None:
        kept = {ports.rpc for ports in keep}
        for folder, server in list(self._yard.servers.items()):
            if server.rpc_port not in kept:
                server.end(LATER_DAEMON)
                del self._yard.servers[folder]

    @asynccontextmanager
    async def running(
        self, ports: Ports, folder: Path, _log_path: Path, hurry: trio.Event
    ) -> AsyncIterator[SimProcess]:
        folder.mkdir()  # noqa: ASYNC240 in memory
        server = self._yard.servers[folder] = self._yard.start(ports)
        async with self._until_the_end(server, folder, hurry) as process:
            yield process

    async def find(self, ports: Ports, folder: Path) -> SimProcess:
        server = self._yard.servers.get(folder)
        if server is None or server.rpc_port != ports.rpc:
            raise ServerError("nothing of it is left")
        if server.how is not None:
            raise ServerError(server.how)
        return SimProcess(server)

    @asynccontextmanager
    async def adopted(
        self, found: SimProcess, _ports: Ports, folder: Path, hurry: trio.Event
    ) -> AsyncIterator[SimProcess]:
        async with self._until_the_end(found.server, folder, hurry):
            yield found

    @asynccontextmanager
    async def _until_the_end(
        self, server: SimServer, folder: Path, hurry: trio.Event
    ) -> AsyncIterator[SimProcess]:
        try:
            yield SimProcess(server)
        finally:
            if not self._is_killed():
                with trio.move_on_after(0.0 if hurry.is_set() else _END_S, shield=True):
                    await server.ended.wait()
            if not self._is_killed():
                server.end("it was told to")
                self._yard.servers.pop(folder, None)
                shutil.rmtree(folder, ignore_errors=True)


class SimProcess:
    """A server, as its slot sees it."""

    def __init__(self, server: SimServer) -> None:
        self.server = server

    @property
    def pid(self) -> int:
        return self.server.pid

    async def ended(self) -> str:
        await self.server.ended.wait()
        return self.server.how or ""

    def tree(self) -> tuple[int, ...]:
        return (self.server.pid,) if self.server.how is None else ()

    def ran_out_of_memory(self) -> bool:
        return False

    def listener(self, ports: Ports) -> Serving | None:
        stranger = self.server.machine.network.listeners.get(ports.rpc)
        if stranger is not None and stranger is not self.server:
            raise ServerError(f"port {ports.rpc} belongs to another, not to this server")
        return Serving(self.server.pid) if self.server.is_listening else None
