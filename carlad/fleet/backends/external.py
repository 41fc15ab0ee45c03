"""Servers that somebody else starts: a compose service, a pod's side-car.

They are probed, leased and scrubbed, never started or killed. What would have ended another server withdraws
this one: it is leased again when nobody else is seen at its ports and its world was loaded anew. Of clients
on other machines, or in other network namespaces, the kernel's tables say nothing; theirs are noticed only
where their commands show in the world.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import trio

from carlad.config import PORTS_PER_SLOT, ProbeSection
from carlad.errors import ConfigError, ServerError
from carlad.fleet.backends.interface import Found, Server, Serving
from carlad.fleet.baseline import difference
from carlad.fleet.ports import LOOPBACK, PortRegistry, Ports, listening_pid
from carlad.fleet.probe import load_map, map_name
from carlad.fleet.processes import name_of
from carlad.fleet.reach import Reach
from carlad.fleet.scrub import alone, baseline_of
from carlad.fleet.shim import descendants
from carlad.fleet.visitors import Visitors
from carlad.log import get_logger
from carlad.rpc import connect
from carlad.runtime import RestartPolicy
from carlad.wire import types as t
from carlad.wire.errors import CallError

log = get_logger(__name__)

_QUIET_S = 1.0  # a client that drives sends a command in every step
_LEAVES_MAX_S = 1.0  # whoever held it
_LEAVE_MAX_S = 1.0  # we ourselves
_PORT_MAX = 65535 - (PORTS_PER_SLOT - 1)
_PROXY = "docker-proxy"  # stands in for a process that is somewhere else


class External:
    """A backend. Each server is one slot's at a time, and the same slot's again."""

    shares_fate = False

    def __init__(self, servers: Sequence[Ports], registry: PortRegistry, probe: ProbeSection) -> None:
        """`registry` knows who has which, also from before a reload."""
        self._servers = servers
        self._registry = registry
        self._probe = probe

    def policy(self, configured: RestartPolicy) -> RestartPolicy:
        """Nothing is restarted, so there is no limit to looking again."""
        return msgspec.structs.replace(configured, restarts_max=sys.maxsize)

    @contextmanager
    def place(self, previous: Ports | None, slot: int = 0) -> Iterator[Ports]:
        """The server that is named at the slot's place, unless a reload has left that to another slot."""
        free = [ports for ports in self._servers if not self._registry.is_held(ports)]
        if not free:
            raise ServerError("no further server: fleet.servers names fewer than there are slots")
        wanted = (previous, *self._servers[slot : slot + 1], free[0])
        with self.place_again(next(one for one in wanted if one is not None and one in free)) as ports:
            yield ports

    @contextmanager
    def place_again(self, ports: Ports) -> Iterator[Ports]:
        self._registry.hold(ports)
        try:
            yield ports
        finally:
            self._registry.give_back(ports)

    async def find(self, ports: Ports, folder: Path) -> Server:
        """It did not end with the daemon, whatever has become of it: probes look after that."""
        if ports not in self._servers:
            raise ServerError(f"fleet.servers does not name {ports.host}:{ports.rpc} any more")
        return Visited(ports)

    @asynccontextmanager
    async def adopted(
        self, found: Found, ports: Ports, folder: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        async with _visit(ports) as server:
            yield server

    async def clear(self, keep: Collection[Ports]) -> None:
        """Nothing is ours."""

    @asynccontextmanager
    async def running(
        self, ports: Ports, folder: Path, log_path: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        try:
            with trio.fail_after(self._probe.start_max_s):
                await renew(Visited(ports), ports, self._probe.load_max_s)
        except trio.TooSlowError:
            raise ServerError(f"not as new after {self._probe.start_max_s:g} s") from None
        async with _visit(ports) as server:
            yield server


@asynccontextmanager
async def _visit(ports: Ports) -> AsyncIterator[Visited]:
    """One that was parked is not left so to whoever has it next, as far as it answers."""
    try:
        yield Visited(ports)
    finally:
        log.info("external.left", host=ports.host, rpc_port=ports.rpc)
        with trio.move_on_after(_LEAVE_MAX_S, shield=True), suppress(ServerError, CallError):
            async with connect(ports.host, ports.rpc) as rpc:
                settings: t.EpisodeSettings = await rpc.call("get_episode_settings")
                if settings.no_rendering_mode:
                    drawing = msgspec.structs.replace(settings, no_rendering_mode=False)
                    await rpc.call("set_episode_settings", drawing)


class Visited:
    """A server that is none of our processes, and may be none of this machine's."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    @property
    def pid(self) -> None:
        return None

    async def ended(self) -> str:
        """Probes alone see its end."""
        await trio.sleep_forever()
        raise AssertionError("that was for ever")

    def tree(self) -> tuple[int, ...]:
        pid = listening_pid(self._ports.rpc) if self._ports.host == LOOPBACK else None
        return (pid, *descendants(pid)) if pid and name_of(pid) != _PROXY else ()

    def ran_out_of_memory(self) -> bool:
        return False

    def listener(self, ports: Ports) -> Serving | None:
        """Both ports were used to make its world as new."""
        return Serving(next(iter(self.tree()), None))


async def renew(server: Visited, ports: Ports, load_max_s: float) -> None:
    """Returns when the world of a server was loaded anew and nobody else meddles with it.

    Raises ServerError with who or what stands in the way.
    """
    await _nobody_there(server, ports)
    reach = Reach(ports)
    try:
        async with reach.rpc() as rpc:
            # A synchronous world stands still until its client ticks it, and with it the next call.
            await rpc.call("set_episode_settings", t.EpisodeSettings())
            name = await map_name(rpc)
    except CallError as error:
        raise ServerError(f"cannot be made as new: {error}") from error
    loaded = await load_map(reach, name, load_max_s)
    before = await baseline_of(reach, loaded)
    await trio.sleep(_QUIET_S)
    async with reach.rpc() as rpc, reach.world() as world:
        is_async = not (await rpc.call("get_episode_settings")).synchronous_mode
        changed = str(difference(before, await world.snapshot())) if is_async else "it became synchronous"
    if changed:
        raise ServerError(f"somebody else uses it: {changed}")
    await _nobody_there(server, ports)  # nor we: to whoever looks next, our connections are a stranger's


async def _nobody_there(server: Visited, ports: Ports) -> None:
    reach = Reach(ports)
    await alone(reach, Visitors(reach, server.tree), trio.current_time() + _LEAVES_MAX_S)


def servers_of(names: Sequence[str]) -> tuple[Ports, ...]:
    """`host:port` each, the port for calls. Raises ConfigError."""
    servers = tuple(map(_server, names))
    if len(set(servers)) < len(servers):
        raise ConfigError("fleet.servers: names a server twice, which only one slot can have")
    return servers


def _server(name: str) -> Ports:
    host, _, port = name.rpartition(":")
    if int(port) > _PORT_MAX:
        raise ConfigError(f"fleet.servers: {name}: the highest port of a server is {_PORT_MAX}")
    return Ports(int(port), LOOPBACK if host == "localhost" else host)
