"""One run of the daemon's control plane, from adoption until it is stopped or killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from carlad.broker.broker import Broker
from carlad.broker.clock import Clock
from carlad.broker.holder import Peer
from carlad.broker.pending import Pending
from carlad.config import Config, Source
from carlad.control import Control, terms
from carlad.fleet.fleet import Fleet
from carlad.gateway.desk import Desk
from carlad.gateway.notices import Notices
from carlad.gateway.operator import Operator
from carlad.gateway.router import Router
from carlad.hosts.host import Premises
from carlad.hosts.sessions import Sessions
from carlad.journal import Change, Journal, JournalError
from carlad.messages import Acquire, LeaseRequest, Notice, Renew
from carlad.runtime import RestartPolicy, supervise
from tests.simulation.machine import party
from tests.simulation.post import Door
from tests.simulation.virtual import Bell

if TYPE_CHECKING:
    from tests.simulation.world import World

_POLICY = RestartPolicy(backoff_s=0.1, backoff_max_s=5.0, restarts_max=5, period_s=60.0)
_TICK_S = 1e-6  # that both clocks can tell from nothing
_SETTLED_S = 1.0  # after which a daemon that began knows its leases


class MortalJournal:
    """The journal of a daemon that may be killed at any write, on a disk that may be full.

    What a killed daemon still writes while its tasks are cancelled is not written.
    """

    def __init__(self, journal: Journal, life: Life) -> None:
        self._journal, self._life = journal, life
        self.read, self.keys, self.token = journal.read, journal.keys, journal.token

    def write(self, changes: Iterable[Change] = (), token: int = 0) -> None:
        if self._life.world.disk_is_full and not self._life.is_dead:
            raise JournalError("cannot write the journal: disk full")
        self._write(lambda: self._journal.write(changes, token))

    def write_now(self, changes: Iterable[Change]) -> bool:
        return not self._life.world.disk_is_full and self._write(lambda: self._journal.write_now(changes))

    def _write(self, write: Callable[[], bool | None]) -> bool:
        """What a dead daemon is told does not matter."""
        life = self._life
        dies = life.writes_left == 1
        if dies and life.dies_before:
            life.kill()
        done = life.is_dead or write() is not False
        if not life.is_dead:
            life.world.disk.wrote()
        if dies and not life.is_dead:
            life.kill()
        life.writes_left -= life.writes_left > 0
        return done


class SimSource(Source):
    """The configuration file."""

    def __init__(self, world: World) -> None:
        super().__init__(None)
        self._world = world

    def load(self) -> Config:
        return self._world.config


class SimFleet(Fleet):
    """Tells what the broker decides, as soon as a slot is asked."""

    def witnessed_by(self, life: Life) -> SimFleet:
        self._life = life
        return self

    async def lease(
        self,
        slot: int,
        lease_id: str,
        expected: tuple[int, str | None] | None = None,
        furnished_as: str | None = None,
    ) -> bool:
        if not self._life.is_dead:
            self._life.world.oracle.fairness.leasing(slot, lease_id)
        return await super().lease(slot, lease_id, expected, furnished_as)

    async def load(self, slot: int, map: str) -> bool:
        if not self._life.is_dead:
            self._life.world.oracle.fairness.loading(slot)
        return await super().load(slot, map)


class SimBroker(Broker):
    """Tells what is asked, and has its leases looked at after each request."""

    def witnessed_by(self, life: Life) -> SimBroker:
        self._life = life
        return self

    async def ask(self, request_id: str, body: LeaseRequest, peer: Peer) -> Pending:
        oracle = self._life.world.oracle
        if self._life.is_dead:
            return await super().ask(request_id, body, peer)
        if isinstance(body, Renew):
            oracle.delivered(body.lease_id)
        pending = await super().ask(request_id, body, peer)
        if isinstance(body, Acquire):
            oracle.fairness.asked(self._life, request_id, body, peer, pending)
        oracle.look(self._life)
        return pending


class SimClock(Clock, frozen=True):
    """Looks again within a second of a suspend, as the real one does, and not each second."""

    world: World

    async def sleep_until(self, deadline_s: float) -> None:
        while (pause_s := deadline_s - self.now_s()) > 0:
            bell = Bell(trio.lowlevel.current_task())
            self.world.wakes_from_suspend = bell
            if pause_s < inf:
                self.world.clock.ring_at(self.world.sim_s() + max(pause_s, _TICK_S), bell)
            await trio.lowlevel.wait_task_rescheduled(bell.forget)


class Life:
    """`door` and what is behind it are there as soon as the daemon listens."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.gone = trio.Event()  # also what a killed one does in its last tasks
        self.is_dead = self.is_settled = self.is_stopping = False
        self.writes_left, self.dies_before = 0, False  # 0: as many as it likes
        self.began_at_s = trio.current_time()
        self.door: Door | None = None
        self.broker: Broker | None = None
        self._control: Control | None = None

    def kill(self, *, journal_lost: bool = False) -> None:
        """As SIGKILL does: nothing of it goes on, and its connections are cut. Once: a kill at a later write
        may come to what a dead one still writes."""
        if self.is_dead:
            return
        self.world.oracle.killed(self, journal_lost=journal_lost)
        self.world.oracle.sessions.may_be_lost |= journal_lost
        self.is_dead = True
        self.over.set()
        self.scope.cancel()
        for network in (self.world.machine.network, self.world.hosts.doors):
            network.cut(lambda one: one.party is self, by_client=True)

    def stop(self) -> None:
        """As SIGTERM does."""
        self.world.oracle.sessions.may_be_lost = self.is_stopping = True
        if self._control is not None:
            self._control.shut_down(now=False)

    async def run(self) -> None:
        """Until it ends. Of one that was killed nothing more takes effect."""
        party.set(self)
        self.world.hosts.is_killed = lambda: self.is_dead
        try:
            with self.world.disk.journal() as journal, self.scope:
                await self._serve(MortalJournal(journal, self))
        finally:
            self.over.set()
            self.gone.set()

    async def _serve(self, journal: Any) -> None:
        """As carlad.daemon does, less sockets, signals and watchdogs."""
        world, config = self.world, self.world.config
        world.oracle.begins()
        self.door = Door(self, world.post)
        sockets: Any = self.door
        self.notices = notices = Notices(sockets, self._note)
        self.fleet = fleet = SimFleet(config, world.runs, journal, notices.publish, {}).witnessed_by(self)
        clock = SimClock(world.now_s, f"boot {world.boots}", world)
        broker = SimBroker(fleet, journal, terms(config), self._tell, clock, trio.to_thread.run_sync)
        broker.witnessed_by(self)
        premises = Premises(world.runs, world.folder / "sockets", world.folder / "log", {})
        self.sessions = sessions = Sessions(config, premises, broker, journal, notices.publish)
        control = Control(config, SimSource(world), fleet, broker, sessions, _nothing, notices.publish)
        operator = Operator(fleet, control)
        desk = Desk(broker, fleet, sessions, notices, operator, config.probe.load_max_s)
        open_sessions = await sessions.records()
        await fleet.adopt(sessions.folders(open_sessions))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise, Router(sockets, desk).run, _POLICY, "router")
            async with trio.open_nursery() as servers:
                await servers.start(fleet.run)
                self.broker = broker
                nursery.start_soon(supervise, broker.run, _POLICY, "broker")
                await servers.start(sessions.run, open_sessions)
                self._control = control
                nursery.start_soon(self._settle)
                await control.told_to_make_way()
                self.is_settled = False
                await control.drain()
                await sessions.stop()
                await broker.stop()
                servers.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    async def _settle(self) -> None:
        assert self.broker is not None
        await self.broker.settled()
        self.world.oracle.began(self)
        await trio.sleep(_SETTLED_S)
        self.is_settled = True

    def _tell(
        self, event: str, slot: int | None = None, lease_id: str | None = None, reason: str | None = None
    ) -> None:
        self.notices.publish(event, slot, lease_id, reason)
        self.sessions.hear(event, lease_id, reason)

    def _note(self, notice: Notice) -> None:
        self.world.note(notice.event, notice.slot, notice.lease_id, notice.session_id, notice.reason)
        if not self.is_dead:
            self.world.oracle.heard(self, notice)


async def _nothing() -> None:
    """Keys are not read again: nobody comes in by TCP."""
