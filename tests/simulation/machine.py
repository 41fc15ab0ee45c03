"""A machine in virtual time: TCP, the kernel's tables and threads, as far as the control plane uses them.

The code under test is the daemon's own; what is put in the place of the operating system's is listed in
`Machine.installed`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from math import inf
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol
from unittest.mock import patch

import trio

from carlad.broker.holder import Process
from carlad.fleet.effort import Effort
from carlad.fleet.resources import Usage
from carlad.fleet.sockets import TIME_WAIT, Socket
from tests.simulation.virtual import Bell, VirtualClock

LOOPBACK = "127.0.0.1"
_LOOPBACK_BYTES = bytes((127, 0, 0, 1))
_ESTABLISHED = 1
_TIME_WAIT_S = 60.0
_FIRST_EPHEMERAL = 32768
_NOON_UNIX_S = 1.8e9  # the time of day when a simulation begins
_THREAD_S = (0.0, 0.0, 0.001, 0.02)  # what work in a thread takes

_SECRETS = tuple(
    f"carlad.{unit}.secrets"
    for unit in ("hosts.sessions", "hosts.session", "hosts.tenure", "hosts.host", "gateway.notices")
)

# Who runs a task, and so whose connections are opened in it: inherited by tasks and threads.
party: ContextVar[object] = ContextVar("party", default=None)


class Service(Protocol):
    """Whoever listens."""

    def received(self, connection: Connection, data: bytes) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class _Ended(NamedTuple):
    """A connection in TIME_WAIT."""

    client_port: int
    port: int
    until_s: float


class Network:
    """Loopback."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.listeners: dict[Any, Service] = {}
        self.connections: dict[Connection, None] = {}
        self._ended: deque[_Ended] = deque()
        self._ephemeral = _FIRST_EPHEMERAL

    def ephemeral(self) -> int:
        self._ephemeral = self._ephemeral + 1 if self._ephemeral < 60999 else _FIRST_EPHEMERAL
        return self._ephemeral

    def over(self, connection: Connection, *, by_client: bool) -> None:
        self.connections.pop(connection, None)
        if by_client:
            self._ended.append(
                _Ended(connection.port, connection.peer_port, trio.current_time() + _TIME_WAIT_S)
            )

    def table(self) -> list[Socket]:
        """As sock_diag tells it."""
        while self._ended and self._ended[0].until_s <= trio.current_time():
            self._ended.popleft()
        lo = _LOOPBACK_BYTES
        found = [Socket(TIME_WAIT, lo, ended.client_port, lo, ended.port, "0") for ended in self._ended]
        for one in self.connections:
            found.append(Socket(_ESTABLISHED, lo, one.peer_port, lo, one.port, "1"))
            found.append(Socket(_ESTABLISHED, lo, one.port, lo, one.peer_port, "1"))
        return found

    def cut(self, which: Callable[[Connection], bool], *, by_client: bool) -> None:
        """As the kernel does for a process that is gone."""
        for connection in [one for one in self.connections if which(one)]:
            connection.hang_up(by_client=by_client)


class Connection(trio.socket.SocketType):
    """A client's end, and what its server put on the way to it."""

    def __init__(self, network: Network) -> None:
        self._network, self._clock = network, network.clock
        self.party = party.get()
        self.port = self.peer_port = 0
        self.service: Service | None = None
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._reader: Bell | None = None

    # --- the client's side, as trio's sockets have it

    def getsockname(self) -> tuple[str, int]:
        return LOOPBACK, self.port

    async def bind(self, _address: object) -> None:
        self.port = self._network.ephemeral()

    async def connect(self, address: tuple[str, Any]) -> None:
        await self._clock.perhaps_yield()
        service = self._network.listeners.get(address[1])
        if service is None:
            raise ConnectionRefusedError(111, "Connection refused")
        self.peer_port, self.service = address[1], service
        self._network.connections[self] = None

    def close(self) -> None:
        self.hang_up(by_client=True)

    # --- and as its streams

    async def send_all(self, data: bytes) -> None:
        await self._clock.perhaps_yield()
        if self.service is None:
            raise trio.BrokenResourceError("Broken pipe")
        self.service.received(self, data)

    async def receive_some(self, _bytes_max: int) -> bytes:
        """All that has arrived by now."""
        arriving, clock = self._arriving, self._clock
        while True:
            due_s = arriving[0][0] if arriving else inf
            if due_s <= clock.now_s:
                await trio.lowlevel.checkpoint_if_cancelled()
                return self._take()
            if self.service is None and due_s == inf:
                await trio.lowlevel.checkpoint()
                return b""
            self._reader = Bell(trio.lowlevel.current_task())
            if due_s < inf:
                clock.ring_at(due_s, self._reader)
            await trio.lowlevel.wait_task_rescheduled(self._reader.forget)

    def _take(self) -> bytes:
        arriving, now_s = self._arriving, self._clock.now_s
        data = arriving.popleft()[1]
        while arriving and arriving[0][0] <= now_s:
            data += arriving.popleft()[1]
        return data

    async def aclose(self) -> None:
        self.close()
        await self._clock.perhaps_yield()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.aclose()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    # --- the server's side

    def deliver(self, data: bytes, at_s: float = 0.0) -> None:
        """Not before `at_s`."""
        self._arriving.append((at_s, data))
        if self._reader is not None and self._reader.task is not None:
            self._clock.ring_at(at_s, self._reader)

    def hang_up(self, *, by_client: bool) -> None:
        if self.service is not None:
            service, self.service = self.service, None
            self._network.over(self, by_client=by_client)
            service.closed(self)
        if self._reader is not None:
            self._reader()


class _Sockets(trio.abc.SocketFactory):
    def __init__(self, network: Network) -> None:
        self._network = network

    def socket(self, *_kind: object) -> Connection:
        return Connection(self._network)


class Machine:
    """`busy`: the processes that compute."""

    def __init__(self, chance: Random, clock: VirtualClock) -> None:
        self.network = Network(clock)
        self.busy: set[int] = set()
        self.pids = iter(range(1000, 1 << 22))
        self.programs: dict[int, trio.Event] = {}  # clients' processes that live
        self._chance = chance

    def start_program(self) -> int:
        """The pid of a client's process."""
        pid = next(self.pids)
        self.programs[pid] = trio.Event()
        return pid

    def end_program(self, pid: int) -> None:
        self.programs.pop(pid).set()

    @contextmanager
    def installed(self, choose: Callable[..., object]) -> Iterator[None]:
        """Until the end of the block; inside `trio.run`. `choose`: where backends come from."""
        trio.socket.set_custom_socket_factory(_Sockets(self.network))
        places = {
            "trio.to_thread.run_sync": self._in_thread,
            "trio.SocketStream": lambda connection: connection,
            "carlad.fleet.fleet.choose": choose,
            "carlad.broker.holder.start_of": self._start_of,
            "carlad.broker.deaths.death_of": self._death_of,
            "carlad.hosts.session.death_of": self._death_of,
            "carlad.hosts.session.Random": lambda: self._chance,
            **dict.fromkeys(_SECRETS, SimpleNamespace(token_hex=self._token_hex)),
            "carlad.gateway.notices.time": SimpleNamespace(time=lambda: _NOON_UNIX_S),
            "carlad.fleet.gpu.cards.Cards.can_be_looked_at": False,
            "carlad.fleet.liveness.effort_of": self._effort_of,
            "carlad.fleet.resources.usage_of": _usage_of,
            "carlad.fleet.looks.sockets": self._sockets,
            "carlad.fleet.visitors.socket_inodes": lambda _pid: frozenset[str](),
            "carlad.fleet.visitors.describe": lambda one: f"port {one.peer_port}",
            "carlad.fleet.ports.can_bind": self._can_bind,
            "carlad.fleet.scrub.can_bind": self._can_bind,
            "carlad.journal.opening.time": SimpleNamespace(time=lambda: _NOON_UNIX_S + trio.current_time()),
            "carlad.fleet.ports.describe_listener": str,
            "carlad.fleet.scrub.describe_listener": str,
        }
        with ExitStack() as undo:
            for place, replacement in places.items():
                undo.enter_context(patch(place, replacement))
            yield

    def _sockets(self, _pid: int, ports: tuple[int, int]) -> list[Socket]:
        """Those with a port of this range at either end."""
        first, last = ports
        return [
            found
            for found in self.network.table()
            if first <= found.port <= last or first <= found.peer_port <= last
        ]

    def _can_bind(self, _address: str, port: int) -> bool:
        return port not in self.network.listeners

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A thread goes on when who waits for it is cancelled."""
        takes_s = self._chance.choice(_THREAD_S)
        await self.network.clock.sleep_on(takes_s, cancellable=options.get("abandon_on_cancel", False))
        return work(*arguments)

    def _start_of(self, pid: int) -> int | None:
        return 1 if pid in self.programs else None

    async def _death_of(self, process: Process) -> None:
        if (death := self.programs.get(process.pid)) is not None:
            await death.wait()

    def _token_hex(self, count: int) -> str:
        return self._chance.randbytes(count).hex()

    def _effort_of(self, pids: Iterable[int]) -> Effort:
        turns = any(pid in self.busy for pid in pids)
        return Effort(trio.current_time() if turns else 0.0, 0, 0)


def _usage_of(pids: Iterable[int]) -> Usage:
    count = len(tuple(pids))
    return Usage(processes=count, rss_bytes=count << 28, cpu_s=0.0, fds=9 * count, threads=7 * count)


def as_party(who: object, work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` as that party's: every connection that it opens is theirs."""

    async def run(*arguments: Any) -> Any:
        party.set(who)
        return await work(*arguments)

    return partial(run)
