"""Env hosts in virtual time: they start, construct, attach and serve, and all of that may go wrong."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import trio

from carlad.config import LogsSection
from carlad.errors import ServerError
from carlad.fleet.backends.interface import Launch
from carlad.rpc import connect
from carlad.session import protocol
from carlad.session.protocol import LENGTHS, FailureKind
from carlad.spaces import Discrete
from carlad.wire import types as t
from carlad.wire.errors import CallError
from tests.simulation.holder import drive
from tests.simulation.machine import Connection, Machine, Network, party

ENV = "sim"
_END_S = 0.2  # between TERM and the end
_ANSWER_MAX_S = 20.0  # of its server
_SPACE = Discrete(2)


class SimHost:
    """`lost` is set when its client can go on with it no more, for whatever reason."""

    def __init__(self, hosts: Hosts, launched: Launch, client: str) -> None:
        self._hosts = hosts
        self.client = client
        self.pid = next(hosts.machine.pids)
        self.how: str | None = None
        self._over = trio.Event()
        self.lost = trio.Event()
        self.why_lost = ""
        self.is_hung = False
        self.attach_s = 0.0
        self.path = Path(_argument(launched, "--endpoint").removeprefix("ipc://"))
        self.name = _argument(launched, "--name")
        self._secret = Path(_argument(launched, "--secret-file")).read_text()
        self._heard: dict[Connection, bytes] = {}
        self._work = trio.CancelScope()
        clock, chance = hosts.machine.network.clock, hosts.chance
        self.attach_s = chance.choice((0.0, 0.0, 0.05, 5.0))
        clock.call_at(clock.now_s + chance.choice((0.0, 0.02, 0.3)), self._listen)

    def _listen(self) -> None:
        if self.how is None:
            self._hosts.doors.listeners[self.path] = self

    async def ended(self) -> str:
        """As `carlad.fleet.server.Server` has it."""
        await self._over.wait()
        return self.how or ""

    # --- what happens to it

    def end(self, how: str) -> None:
        if self.how is not None:
            return
        self.how = how
        self._hosts.doors.listeners.pop(self.path, None)
        self._hosts.doors.cut(lambda one: one.service is self, by_client=False)
        self._work.cancel()
        self.lose(how)
        self._over.set()

    def hang(self) -> None:
        """Its client sees that after a while."""
        self.is_hung = True
        clock = self._hosts.machine.network.clock
        clock.call_at(clock.now_s + _ANSWER_MAX_S, lambda: self.lose("it does not answer"))

    def lose(self, why: str) -> None:
        self.why_lost = self.why_lost or why
        self.lost.set()

    # --- the step protocol, as far as the daemon speaks it

    def received(self, connection: Connection, data: bytes) -> None:
        heard = self._heard.get(connection, b"") + data
        while len(heard) >= LENGTHS.size:
            head_bytes, _body_bytes = LENGTHS.unpack_from(heard)
            end = LENGTHS.size + head_bytes
            if len(heard) < end:
                break
            request, heard = protocol.decode_request(heard[LENGTHS.size : end]).message, heard[end:]
            if not self.is_hung:
                self._obey(connection, request)
        self._heard[connection] = heard

    def closed(self, connection: Connection) -> None:
        self._heard.pop(connection, None)

    def _obey(self, connection: Connection, request: protocol.Request) -> None:
        match request:
            case protocol.Hello(secret):
                assert secret == self._secret, "the daemon says another secret"
                self._say(connection, protocol.Welcome())
            case protocol.Construct(config):
                refused = protocol.Failed(FailureKind.ENVIRONMENT_ERROR, "cannot make it: it is bad")
                made = protocol.Constructed(observation_space=_SPACE, action_space=_SPACE)
                self._say(connection, refused if config.get("bad") else made)
            case protocol.Attach():
                trio.lowlevel.spawn_system_task(self._serve, connection, request.host, request.rpc_port)
            case _:
                raise AssertionError(request)

    def _say(self, connection: Connection, reply: protocol.Reply) -> None:
        connection.deliver(b"".join(protocol.encode_head(reply)))

    async def _serve(self, connection: Connection, host: str, port: int) -> None:
        """The environment: commands its server for as long as both are there."""
        party.set(self.client)
        attached = False
        with self._work:
            try:
                await trio.sleep(self.attach_s)
                async with connect(host, port) as rpc:
                    with trio.fail_after(_ANSWER_MAX_S):
                        await rpc.call("set_episode_settings", t.EpisodeSettings(synchronous_mode=True))
                    attached = True
                    self._say(connection, protocol.Attached())
                    await drive(rpc, self._hosts.commands_s, lambda: self.is_hung)
            except (ServerError, CallError, trio.TooSlowError) as error:
                if not attached:
                    self._say(connection, protocol.Failed(FailureKind.SIMULATOR_LOST, str(error)))
                self.lose(f"its server is gone: {error}")


class Hosts:
    """All of a machine: they outlive daemons. `client_of`: whose session has that id."""

    def __init__(self, machine: Machine, chance: Random, commands_s: float, client_of: Any) -> None:
        self.machine, self.chance, self.commands_s = machine, chance, commands_s
        self.doors = Network(machine.network.clock)
        self._client_of = client_of
        self._by_folder: dict[Path, SimHost] = {}
        self.is_killed: Any = lambda: False

    def running(self) -> list[SimHost]:
        return [host for host in self._by_folder.values() if host.how is None]

    def at(self, steps: str) -> SimHost | None:
        """Whoever listens at a session's endpoint."""
        found = self.doors.listeners.get(Path(steps.removeprefix("ipc://")))
        return found if isinstance(found, SimHost) else None

    @contextmanager
    def installed(self) -> Iterator[None]:
        with (
            patch("carlad.hosts.host.running", self._running),
            patch("carlad.hosts.host.adopted", self._adopted),
            patch("carlad.hosts.sessions.find", self._find),
            patch("carlad.hosts.sessions.end_leftovers_of", self._end_leftovers_of),
            patch("carlad.fleet.fleet.end_leftovers", self._end_leftovers),
            patch("trio.open_unix_socket", self._open),
        ):
            yield

    async def _open(self, path: Path) -> Connection:
        connection = Connection(self.doors)
        await connection.connect(("", path))
        return connection

    @asynccontextmanager
    async def _running(
        self, launched: Launch, folder: Path, _log: Path, hurry: trio.Event, _limits: LogsSection
    ) -> AsyncIterator[SimHost]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()  # noqa: ASYNC240 in memory
        host = self._by_folder[folder] = SimHost(self, launched, self._client_of(folder.name))
        async with self._until_the_end(host, folder, hurry):
            yield host

    async def _find(self, folder: Path) -> SimHost:
        host = self._by_folder.get(folder)
        await trio.lowlevel.checkpoint()
        if host is None or host.how is not None:
            raise ServerError(
                "nothing of it is left" if host is None else f"{host.how} while nobody was there"
            )
        return host

    @asynccontextmanager
    async def _adopted(self, found: SimHost, folder: Path, hurry: trio.Event) -> AsyncIterator[SimHost]:
        async with self._until_the_end(found, folder, hurry):
            yield found

    @asynccontextmanager
    async def _until_the_end(self, host: SimHost, folder: Path, hurry: trio.Event) -> AsyncIterator[None]:
        """A daemon that is killed ends nothing any more."""
        is_killed = self.is_killed
        try:
            yield
        finally:
            if not is_killed() and host.how is None:
                with trio.move_on_after(0.0 if hurry.is_set() else _END_S, shield=True):
                    await hurry.wait()
            if not is_killed():
                self._discard(folder)

    async def _end_leftovers_of(self, folder: Path) -> None:
        await trio.lowlevel.checkpoint()
        self._discard(folder)

    async def _end_leftovers(self, runs: Path, keep: Any = ()) -> None:
        """Of servers' folders nothing but the folder: those of a yard are ended by its backend."""
        await trio.lowlevel.checkpoint()
        for folder in sorted(runs.iterdir()):  # noqa: ASYNC240 in memory
            if folder not in keep:
                self._discard(folder)

    def _discard(self, folder: Path) -> None:
        if (host := self._by_folder.pop(folder, None)) is not None:
            host.end("it was told to")
        shutil.rmtree(folder, ignore_errors=True)


def _argument(launched: Launch, name: str) -> str:
    return launched.argv[launched.argv.index(name) + 1]
