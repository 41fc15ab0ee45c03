"""A simulated hour: a machine, its servers, one daemon after the other, clients, and what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from carlad.config import (
    Config,
    DaemonSection,
    FleetSection,
    LeaseSection,
    ProbeSection,
    RecycleSection,
    RestartSection,
    SessionSection,
)
from carlad.fleet.ports import PortRegistry, Ports
from carlad.fleet.situation import SlotStatus
from carlad.messages import Drain, OperatorRequest, Quarantine, Reload, Restart, Scale, Undrain
from tests.simulation import schedule as happens
from tests.simulation import virtual
from tests.simulation.backend import SimBackend, Yard
from tests.simulation.disk import Disk, Image
from tests.simulation.holder import Asker, ClientRun, meddle
from tests.simulation.host import ENV, Hosts
from tests.simulation.life import Life
from tests.simulation.machine import Connection, Machine
from tests.simulation.oracle import Oracle, program_of
from tests.simulation.post import Post
from tests.simulation.promise import BrokenPromiseError
from tests.simulation.server import SimServer
from tests.simulation.session import SessionRun
from tests.simulation.watcher import watch

_FIRST_PORT = 2000
_BLOCKS = happens.SLOTS + 8
_LATE_S = 3 * happens.HOUR_S  # for the last client to be answered
_STOP_MAX_S = 60.0


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


class World:
    def __init__(self, seed: int, happenings: tuple[happens.Any, ...], folder: Path) -> None:
        self._seed = seed
        self.chance = Random(seed)
        self.happenings = happenings
        self.folder, self.runs = folder, folder / "run"
        for each in (self.runs, folder / "sockets"):
            each.mkdir(parents=True)
        self.traits = happens.traits(seed)
        self.config = _config(folder, self.traits)
        self.disk = Disk(folder, in_files=any(isinstance(one, happens.PowerCut) for one in happenings))
        self.clock = virtual.VirtualClock(self.chance)
        self.machine = Machine(self.chance, self.clock)
        self.yard = Yard(self._start_server)
        self.oracle = Oracle(self)
        self.post = Post(self)
        self.hosts = Hosts(self.machine, self.chance, self.traits.commands_s, self._client_of)
        self._operators = count()
        self.scope = trio.CancelScope()
        self.life: Life | None = None
        self.ahead_s = 0.0  # so far is the clock of the leases ahead of that of timers
        self.wakes_from_suspend: virtual.Bell | None = None
        self.disk_is_full = False
        self.damages_journal: int | None = None
        self.boots = 1
        self._image: Image | None = None  # what the next daemon finds on the disk
        self._programs: set[trio.CancelScope] = set()  # of clients
        self.down_s = 1.0
        self.trace: list[str] = []
        self._breaks_until_s = -1.0
        self._over = False

    # --- what is so

    def sim_s(self) -> float:
        """Since the beginning."""
        return self.clock.now_s

    def now_s(self) -> float:
        """By the clock of the leases."""
        return self.clock.now_s + self.ahead_s

    def status(self, slot: int) -> SlotStatus | None:
        statuses = self.life.fleet.statuses() if self.life is not None else ()
        return next((one for one in statuses if one.slot == slot), None)

    def machine_is_gone(self, name: str) -> bool:
        """Whether that client's process has ended."""
        return name in self.oracle.dead

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
        with _silence():
            try:
                virtual.run(self._live, self.clock, self._seed)
            finally:
                self.disk.close()
        if self.oracle.violation is not None:
            raise self.oracle.violation

    async def _live(self) -> None:
        with self.machine.installed(self._choose), self.hosts.installed(), self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._daemons, nursery)
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
                clients.start_soon(self._run_program, ClientRun(self, happening))
            elif isinstance(happening, happens.SessionClient):
                clients.start_soon(self._run_program, SessionRun(self, happening))
            else:
                nursery.start_soon(_MAKES[type(happening)], self, happening)
        await trio.sleep_until(happens.HOUR_S)
        for slot in range(
            happens.SLOTS
        ):  # where none is left, whoever is owed a server waits for an operator
            if (status := self.status(slot)) is not None and status.state == "QUARANTINED":
                nursery.start_soon(self._command, Restart(slot=slot))

    async def _run_program(self, client: ClientRun | SessionRun) -> None:
        """As long as the machine runs."""
        with trio.CancelScope() as scope:
            self._programs.add(scope)
            await client.run()
        self._programs.remove(scope)
        client.asker.die()

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

    async def _daemons(self, nursery: trio.Nursery) -> None:
        """One after the other; what one that was killed does in its last tasks is not waited for."""
        while not self._over:
            while self.disk_is_full:  # noqa: ASYNC110 where the journal cannot be opened
                await trio.sleep(1.0)
            self.life = life = Life(self)
            self.note("a daemon begins")
            nursery.start_soon(life.run)
            await life.over.wait()
            self.note("a daemon has ended", "killed" if life.is_dead else "")
            self.life = None
            if self.damages_journal is not None or self._image is not None:
                await life.gone.wait()  # nobody has the files open
            if self.damages_journal is not None:
                self.disk.cut(self.damages_journal)
                self.damages_journal = None
            if self._image is not None:
                self.disk.put(self._image)
                self._image = None
            if life.is_dead or not self._over:
                await trio.sleep(self.down_s)

    def _client_of(self, session_id: str) -> str:
        """Who asked for it."""
        assert self.life is not None
        found = (one for one in self.life.sessions.statuses() if one.session_id == session_id)
        return program_of(next(found).holder)

    def _choose(
        self, _config: Config, _environ: Mapping[str, str], registry: PortRegistry, *_rest: object
    ) -> SimBackend:
        life = self.life
        assert life is not None
        return SimBackend(self.yard, registry, lambda: life.is_dead)

    def _start_server(self, ports: Ports) -> SimServer:
        traits = self.traits
        server = SimServer(self.machine, ports.rpc, "Town01", traits.loads_s, traits.answers_s, self.oracle)
        self.clock.call_at(
            self.clock.now_s + self.chance.uniform(*traits.starts_s), lambda: self._begin_server(server)
        )
        return server

    def _begin_server(self, server: SimServer) -> None:
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
            server.answer_s, server.was_slow = 1.0, True
            await trio.sleep(fault.for_s)
            server.answer_s = self.traits.answers_s
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
            self.life.kill(journal_lost=True)

    async def _cut_power(self, cut: happens.PowerCut) -> None:
        if self.life is None or self.life.broker is None or self.life.is_dead or self._over:
            return
        self.down_s = cut.down_s
        self._image = self.disk.lose_power(cut.keep)
        self.life.kill(journal_lost=True)
        for program in list(self._programs):
            program.cancel()
        for running in (*self.yard.running(), *self.hosts.running()):
            running.end("the power was cut")
        self.boots += 1
        self.ahead_s = -self.sim_s()  # the leases' clock begins anew

    async def _restart_daemon(self, restart: happens.OrderlyRestart) -> None:
        self.down_s = restart.down_s
        if self.life is not None and self.life.broker is not None:
            self.life.stop()

    async def _fill_disk(self, full: happens.FullDisk) -> None:
        self.disk_is_full = True
        await trio.sleep(full.for_s)
        self.disk_is_full = False
        self.oracle.fairness.disk_was_full()

    async def _spoil_post(self, bad: happens.BadPost) -> None:
        self.post.is_bad = True
        await trio.sleep(bad.for_s)
        self.post.is_bad = False

    async def _suspend(self, suspend: happens.Suspend) -> None:
        self.ahead_s += suspend.for_s
        self.oracle.time_jumped()
        await trio.sleep(self.chance.random())
        if self.wakes_from_suspend is not None:
            self.wakes_from_suspend()

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
        """Through the gateway; a minute later what is down is started again, so that the hour goes on."""
        slot = operator.slot
        requests: dict[str, OperatorRequest] = {
            "drain": Drain(slot=slot),
            "undrain": Undrain(slot=slot),
            "restart": Restart(slot=slot),
            "quarantine": Quarantine(slot=slot),
        }
        self.oracle.meddled[slot] += 1
        self.oracle.taken[slot] += operator.does == "quarantine"
        await self._command(requests[operator.does])
        await trio.sleep(60.0)
        if operator.does in ("drain", "quarantine"):
            await self._command(Restart(slot=slot))
            await trio.sleep(60.0)
        self.oracle.taken[slot] -= operator.does == "quarantine"
        self.oracle.meddled[slot] -= 1

    async def _scale(self, scale: happens.Scale) -> None:
        """A restart or a reload may undo it meanwhile."""
        for slot in range(happens.SLOTS + 2):
            self.oracle.meddled[slot] += 1
        await self._command(Scale(size=scale.size))
        await trio.sleep(scale.for_s)
        await self._command(Scale(size=happens.SLOTS))
        await trio.sleep(60.0)
        for slot in range(happens.SLOTS + 2):
            self.oracle.meddled[slot] -= 1

    async def _reload(self, reload: happens.ConfigReload) -> None:
        config, replace = self.config, msgspec.structs.replace
        self.config = replace(
            config,
            probe=replace(config.probe, period_s=reload.probe_s),
            lease=replace(config.lease, quota=reload.quota),
            fleet=replace(config.fleet, spares=reload.spares),
        )
        self.oracle.reconfigured()
        await self._command(Reload())

    async def _command(self, request: OperatorRequest) -> None:
        await Asker(self, f"operator{next(self._operators)}", happens.UIDS[0], is_known=False).ask(request)

    async def _fault_host(self, fault: happens.HostFault) -> None:
        hosts = self.hosts.running()
        if not hosts:
            return
        host = hosts[fault.number % len(hosts)]
        if fault.kind == "crash":
            host.end("was killed by SIGSEGV")
        else:
            host.hang()

    async def _watch(self, watcher: happens.Watcher) -> None:
        await watch(self, watcher)


_MAKES: dict[type, Any] = {
    happens.ServerFault: World._fault,
    happens.BrokenStarts: World._break_starts,
    happens.DaemonKill: World._kill_daemon,
    happens.DamagedJournal: World._damage_journal,
    happens.PowerCut: World._cut_power,
    happens.Scale: World._scale,
    happens.OrderlyRestart: World._restart_daemon,
    happens.FullDisk: World._fill_disk,
    happens.BadPost: World._spoil_post,
    happens.Suspend: World._suspend,
    happens.Stranger: World._meddle,
    happens.Squatter: World._squat,
    happens.Operator: World._operate,
    happens.HostFault: World._fault_host,
    happens.ConfigReload: World._reload,
    happens.Watcher: World._watch,
}


class Mute:
    """Takes connections and says nothing."""

    def received(self, connection: Connection, data: bytes) -> None: ...
    def closed(self, connection: Connection) -> None: ...


def _config(folder: Path, traits: happens.Traits) -> Config:
    last = _FIRST_PORT + 4 * _BLOCKS - 1
    return Config(
        daemon=DaemonSection(
            endpoint=f"ipc://{folder}/sockets/carlad.sock",
            state_dir=str(folder),
            log_dir=str(folder / "log"),
            drain_s=1.0,
        ),
        fleet=FleetSection(size=happens.SLOTS, ports=(_FIRST_PORT, last), spares=traits.spares),
        lease=LeaseSection(
            ttl_s=10.0,
            head_start_s=traits.head_start_s,
            quota=traits.quota,
            idle_max_s=traits.idle_max_s,
        ),
        probe=ProbeSection(
            period_s=traits.probe_s, timeout_s=2.0, failures=3, start_max_s=60.0, load_max_s=30.0
        ),
        restart=RestartSection(backoff_s=0.5, backoff_max_s=30.0, restarts_max=5, period_s=60.0),
        recycle=RecycleSection(period_s=300.0),
        session=SessionSection(envs={ENV: "simulated:Env"}, start_max_s=10.0, attach_max_s=8.0),
    )
