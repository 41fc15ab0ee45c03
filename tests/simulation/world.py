"""A simulated hour: a machine, its servers, one daemon after the other, clients, and what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import trio
import trio.testing

from carlad.config import (
    Config,
    DaemonSection,
    FleetSection,
    LeaseSection,
    ProbeSection,
    RecycleSection,
    RestartSection,
)
from carlad.fleet.ports import PortRegistry, Ports
from carlad.fleet.situation import SlotStatus
from carlad.messages import LeaseRequest, ReplyBody
from tests.simulation import schedule as happens
from tests.simulation.backend import SimBackend, Yard
from tests.simulation.holder import ClientRun, meddle
from tests.simulation.life import Life
from tests.simulation.machine import Connection, Machine
from tests.simulation.oracle import BrokenPromiseError, Oracle
from tests.simulation.server import SimServer

_FIRST_PORT = 2000
_BLOCKS = happens.SLOTS + 6
_LATE_S = 3 * happens.HOUR_S  # for the last client to be answered
_STOP_MAX_S = 60.0
_POST_S = (0.0, 0.0001, 0.001, 0.01)
_BAD_POST_S = (0.0, 0.001, 0.1, 3.0)


@contextmanager
def _silence() -> Iterator[None]:
    """Of logs, which tell of every fault."""
    logger = logging.getLogger("carlad")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _deterministic_scheduling(seed: int) -> Iterator[None]:
    """trio shuffles the tasks that can run; its own tests turn that off in the same way."""
    trio_run = "trio._core._run"
    with patch(f"{trio_run}._ALLOW_DETERMINISTIC_SCHEDULING", True), patch(f"{trio_run}._r", Random(seed)):
        yield


class World:
    def __init__(self, seed: int, happenings: tuple[happens.Any, ...], folder: Path) -> None:
        self._seed = seed
        self.chance = Random(seed)
        self.happenings = happenings
        self.folder, self.runs = folder, folder / "run"
        self.runs.mkdir(parents=True)
        self.config = _config(folder)
        self.machine = Machine(self.chance)
        self.yard = Yard(self._start_server)
        self.oracle = Oracle(self)
        self.post = Post(self)
        self.scope = trio.CancelScope()
        self.life: Life | None = None
        self.suspended_s = 0.0
        self.disk_is_full = False
        self.damages_journal: int | None = None
        self.down_s = 1.0
        self.trace: list[str] = []
        self._breaks_until_s = -1.0
        self._over = False

    # --- what is so

    def sim_s(self) -> float:
        """Since the beginning."""
        return trio.current_time()

    def now_s(self) -> float:
        """By the clock of the leases."""
        return trio.current_time() + self.suspended_s

    def status(self, slot: int) -> SlotStatus | None:
        return self.life.fleet.statuses()[slot] if self.life is not None else None

    def rpc_port(self, slot: int) -> int | None:
        status = self.status(slot) if self.life is not None and self.life.broker is not None else None
        return status.rpc_port if status is not None else None

    def server_at(self, rpc_port: int | None) -> SimServer | None:
        return next((one for one in self.yard.servers.values() if one.rpc_port == rpc_port), None)

    def yard_of(self, pid: int | None) -> SimServer | None:
        return next((one for one in self.yard.servers.values() if one.pid == pid), None)

    def note(self, what: str, *about: object) -> None:
        self.trace.append(f"{self.sim_s():10.3f} {what} {' '.join(str(a) for a in about if a is not None)}")

    # --- it runs

    def run(self) -> None:
        """Once. Raises BrokenPromiseError, and whatever the code under test raises."""
        with _silence(), _deterministic_scheduling(self._seed):
            trio.run(self._live, clock=trio.testing.MockClock(autojump_threshold=0))
        if self.oracle.violation is not None:
            raise self.oracle.violation

    async def _live(self) -> None:
        with self.machine.installed(self._choose), self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._daemons)
                nursery.start_soon(self._look)
                try:
                    with trio.fail_after(_LATE_S):
                        async with trio.open_nursery() as clients:
                            await self._happen(nursery, clients)
                except trio.TooSlowError:
                    raise BrokenPromiseError("clients are never answered") from None
                await self._end()
                nursery.cancel_scope.cancel()

    async def _happen(self, nursery: trio.Nursery, clients: trio.Nursery) -> None:
        for happening in self.happenings:
            await trio.sleep_until(happening.at_s)
            self.note("---", happening)
            if isinstance(happening, happens.Client):
                clients.start_soon(ClientRun(self, happening).run)
            else:
                nursery.start_soon(_MAKES[type(happening)], self, happening)

    async def _end(self) -> None:
        while self.life is None or self.life.broker is None or self.life.is_dead:  # noqa: ASYNC110 virtual time costs nothing
            await trio.sleep(0.1)
        self._over = True
        self.disk_is_full, self.life.writes_left = False, 0
        self.life.stop()
        with trio.move_on_after(_STOP_MAX_S):
            while self.life is not None:  # noqa: ASYNC110
                await trio.sleep(0.1)
        if self.life is not None:
            raise BrokenPromiseError("the daemon does not stop")
        self.oracle.at_the_end()

    async def _daemons(self) -> None:
        while not self._over:
            while self.disk_is_full:  # noqa: ASYNC110 where the journal cannot be opened
                await trio.sleep(1.0)
            self.life = life = Life(self)
            self.note("a daemon begins")
            await life.run()
            self.note("a daemon has ended", "killed" if life.is_dead else "")
            self.life = None
            if self.damages_journal is not None:
                self._cut_journal(self.damages_journal)
                self.damages_journal = None
            if life.is_dead or not self._over:
                await trio.sleep(self.down_s)

    async def _look(self) -> None:
        while True:
            await trio.sleep(1.0)
            if self.life is not None and self.life.broker is not None and not self.life.is_dead:
                self.oracle.look(self.life)

    def _choose(
        self, _config: Config, _environ: Mapping[str, str], registry: PortRegistry, *_rest: object
    ) -> SimBackend:
        life = self.life
        assert life is not None
        return SimBackend(self.yard, registry, lambda: life.is_dead)

    def _start_server(self, ports: Ports) -> SimServer:
        start_s = self.chance.uniform(0.5, 4.0)
        server = SimServer(self.machine, ports.rpc, start_s, "Town01", self.oracle.commanded)
        trio.lowlevel.spawn_system_task(self._begin_server, server, start_s)  # no daemon's task
        return server

    async def _begin_server(self, server: SimServer, start_s: float) -> None:
        await trio.sleep(start_s)
        if self.sim_s() < self._breaks_until_s:
            server.crash("exit code 1")
        elif server.how is None and not server.listen():
            server.crash("its port is in use")

    # --- what goes wrong

    async def _fault(self, fault: happens.ServerFault) -> None:
        server = self.server_at(self.rpc_port(fault.slot))
        if server is None or server.how is not None:
            return
        if fault.kind == "crash":
            server.crash("signal 11")
        elif fault.kind == "slow":
            server.answer_s = 1.0
            await trio.sleep(fault.for_s)
            server.answer_s = 0.002
        else:
            server.hang(in_a_loop=fault.kind == "loop")

    async def _break_starts(self, broken: happens.BrokenStarts) -> None:
        self._breaks_until_s = self.sim_s() + broken.for_s

    async def _kill_daemon(self, kill: happens.DaemonKill) -> None:
        if self.life is None or self.life.broker is None or self._over:
            return
        self.down_s = kill.down_s
        if kill.writes:
            self.life.writes_left, self.life.dies_before = kill.writes, kill.before
        else:
            self.life.kill()

    async def _damage_journal(self, damage: happens.DamagedJournal) -> None:
        if self.life is not None and self.life.broker is not None and not self._over:
            self.damages_journal = damage.keep
            self.life.kill()

    def _cut_journal(self, keep: int) -> None:
        for path in self.folder.glob("journal.sqlite-*"):
            path.unlink()
        path = self.folder / "journal.sqlite"
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size * keep // 1000)

    async def _restart_daemon(self, restart: happens.OrderlyRestart) -> None:
        self.down_s = restart.down_s
        if self.life is not None and self.life.broker is not None:
            self.life.stop()

    async def _fill_disk(self, full: happens.FullDisk) -> None:
        self.disk_is_full = True
        await trio.sleep(full.for_s)
        self.disk_is_full = False

    async def _spoil_post(self, bad: happens.BadPost) -> None:
        self.post.is_bad = True
        await trio.sleep(bad.for_s)
        self.post.is_bad = False

    async def _suspend(self, suspend: happens.Suspend) -> None:
        self.suspended_s += suspend.for_s

    async def _meddle(self, stranger: happens.Stranger) -> None:
        await meddle(self, stranger)

    async def _squat(self, squatter: happens.Squatter) -> None:
        port, listeners = _FIRST_PORT + 4 * squatter.block + 1, self.machine.network.listeners
        if port not in listeners:
            listeners[port] = mute = Mute()
            await trio.sleep(min(squatter.for_s, max(0.0, happens.HOUR_S - self.sim_s())))
            self.machine.network.cut(lambda one: one.service is mute, by_client=False)
            del listeners[port]

    async def _operate(self, operator: happens.Operator) -> None:
        life, slot = self.life, operator.slot
        if life is None or life.broker is None:
            return
        self.oracle.meddled.add(slot)
        self.oracle.starts[slot] = 0
        self.oracle.lost_at_s.pop(slot, None)
        act: dict[str, Callable[[], None]] = {
            "drain": lambda: life.fleet.drain(slot),
            "undrain": lambda: life.fleet.undrain(slot),
            "restart": lambda: life.fleet.restart(slot),
            "quarantine": lambda: life.fleet.quarantine(slot, "by hand"),
        }
        act[operator.does]()
        await trio.sleep(60.0)
        self.oracle.meddled.discard(slot)
        if (
            operator.does in ("drain", "quarantine")
            and self.life is not None
            and self.life.broker is not None
        ):
            self.oracle.starts[slot] = 0
            self.oracle.lost_at_s.pop(slot, None)
            self.life.fleet.restart(slot)  # so that the hour goes on


_MAKES: dict[type, Any] = {
    happens.ServerFault: World._fault,
    happens.BrokenStarts: World._break_starts,
    happens.DaemonKill: World._kill_daemon,
    happens.DamagedJournal: World._damage_journal,
    happens.OrderlyRestart: World._restart_daemon,
    happens.FullDisk: World._fill_disk,
    happens.BadPost: World._spoil_post,
    happens.Suspend: World._suspend,
    happens.Stranger: World._meddle,
    happens.Squatter: World._squat,
    happens.Operator: World._operate,
}


class Mute:
    """Takes connections and says nothing."""

    def received(self, connection: Connection, data: bytes) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class Post:
    """Between clients and whichever daemon there is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_bad = False

    async def ask(self, request_id: str, body: LeaseRequest) -> ReplyBody | None:
        """The first answer that arrives; for ever, where none does."""
        there = trio.Event()
        answers: list[ReplyBody] = []

        def arrive(answer: ReplyBody) -> None:
            if not self._is_lost():
                answers.append(answer)
                there.set()

        await self._travel()
        for _ in range(1 + self._comes_twice()):
            life = self._world.life
            if life is not None and not self._is_lost():
                life.post(request_id, body, arrive)
            await self._travel()
        await there.wait()
        await self._travel()
        return answers[0]

    def _is_lost(self) -> bool:
        return self.is_bad and self._world.chance.random() < 0.3

    def _comes_twice(self) -> bool:
        return self.is_bad and self._world.chance.random() < 0.3

    async def _travel(self) -> None:
        await trio.sleep(self._world.chance.choice(_BAD_POST_S if self.is_bad else _POST_S))


def _config(folder: Path) -> Config:
    last = _FIRST_PORT + 4 * _BLOCKS - 1
    return Config(
        daemon=DaemonSection(state_dir=str(folder), log_dir=str(folder / "log")),
        fleet=FleetSection(size=happens.SLOTS, ports=(_FIRST_PORT, last), spares=0),
        lease=LeaseSection(ttl_s=10.0),
        probe=ProbeSection(period_s=15.0, timeout_s=2.0, failures=3, start_max_s=60.0, load_max_s=30.0),
        restart=RestartSection(backoff_s=0.5, backoff_max_s=30.0, restarts_max=5, period_s=60.0),
        recycle=RecycleSection(period_s=60.0),
    )
