"""One run of the daemon's control plane, from adoption until it is stopped or killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from carlad.broker.broker import Broker
from carlad.broker.clock import Clock
from carlad.broker.holder import Peer
from carlad.control import terms
from carlad.fleet.fleet import Fleet
from carlad.journal import Change, Journal, JournalError, open_journal
from carlad.messages import LeaseRequest, Renew, ReplyBody
from carlad.runtime import NoAnswerError, RestartPolicy, supervise
from tests.simulation.machine import party

if TYPE_CHECKING:
    from tests.simulation.world import World

_POLICY = RestartPolicy(backoff_s=0.1, backoff_max_s=5.0, restarts_max=5, period_s=60.0)
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
        if dies and not life.is_dead:
            life.kill()
        life.writes_left -= life.writes_left > 0
        return done


class Life:
    def __init__(self, world: World) -> None:
        self.world = world
        self.scope = trio.CancelScope()
        self.is_dead = self.is_settled = False
        self.writes_left, self.dies_before = 0, False  # 0: as many as it likes
        self.began_at_s = trio.current_time()
        self.broker: Broker | None = None
        self._end = trio.Event()
        self._send, self._post = trio.open_memory_channel[Any](1000)

    def kill(self) -> None:
        """As SIGKILL does: nothing of it goes on, and its connections are cut."""
        self.world.oracle.killed(self, journal_lost=self.world.damages_journal is not None)
        self.is_dead = True
        self.scope.cancel()
        self.world.machine.network.cut(lambda one: one.party is self, by_client=True)

    def stop(self) -> None:
        self._end.set()

    async def run(self) -> None:
        """Until it ends. Of one that was killed nothing more takes effect."""
        party.set(self)
        path = self.world.folder / "journal.sqlite"
        journal, _lost = open_journal(path, was_used=path.exists())
        mortal: Any = MortalJournal(journal, self)
        try:
            with self.scope:
                await self._serve(mortal)
        finally:
            journal.close()

    async def _serve(self, journal: Any) -> None:
        world = self.world
        world.oracle.begins()
        self.fleet = Fleet(world.config, world.runs, journal, self._notify, {})
        clock = Clock(world.now_s, "a boot")
        await self.fleet.adopt()
        async with trio.open_nursery() as nursery, trio.open_nursery() as servers:
            await servers.start(self.fleet.run)
            self.broker = Broker(
                self.fleet, journal, terms(world.config), self._notify, clock, trio.to_thread.run_sync
            )
            nursery.start_soon(supervise, self.broker.run, _POLICY, "broker")
            nursery.start_soon(self._serve_post, nursery)
            nursery.start_soon(self._settle)
            await self._end.wait()
            await self.broker.drain()
            await self.broker.stop()
            self.is_settled = False
            servers.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    async def _settle(self) -> None:
        assert self.broker is not None
        await self.broker.settled()
        self.world.oracle.began(self)
        await trio.sleep(_SETTLED_S)
        self.is_settled = True

    def _notify(
        self,
        event: str,
        slot: int | None = None,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: str | None = None,
    ) -> None:
        self.world.note(event, slot, lease_id, reason)
        if not self.is_dead:
            self.world.oracle.heard(self, event, slot, lease_id, reason)

    # --- its post: requests are taken in its own tasks

    def post(self, request_id: str, body: LeaseRequest, answered: Any) -> None:
        """`answered` is called with each answer that comes."""
        with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._send.send_nowait((request_id, body, answered))

    async def _serve_post(self, nursery: trio.Nursery) -> None:
        async for request_id, body, answered in self._post:
            nursery.start_soon(partial(self._answer, request_id, body, answered))

    async def _answer(self, request_id: str, body: LeaseRequest, answered: Any) -> None:
        assert self.broker is not None
        if isinstance(body, Renew):
            self.world.oracle.delivered(body.lease_id)
        with suppress(NoAnswerError):
            pending = await self.broker.ask(request_id, body, Peer())
            answer: ReplyBody | None = await pending.wait()
            if answer is not None and not self.is_dead:
                answered(answer)
