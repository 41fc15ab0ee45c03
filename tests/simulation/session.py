"""Clients of env sessions: they open one, step it, go on with another host if theirs is lost, and leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from carlad.messages import CloseSession, OpenSession, RecoverSession, Refused, RenewSession, SessionOpened
from carlad.ttl import RENEWALS_IN_TTL
from tests.simulation.holder import Asker
from tests.simulation.host import ENV
from tests.simulation.schedule import SessionClient

if TYPE_CHECKING:
    from tests.simulation.world import World


class SessionRun:
    """One client's life. `name` is also the party of its env hosts."""

    def __init__(self, world: World, plan: SessionClient) -> None:
        self._world, self._plan = world, plan
        self.name = f"session{plan.number}"
        self.asker = Asker(world, self.name, plan.uid, is_known=plan.is_known)

    async def run(self) -> None:
        plan = self._plan
        asked = OpenSession(
            holder=self.asker.holder,
            env=ENV,
            config={"bad": True} if plan.is_bad else {},
            map=plan.map,
            ttl_s=plan.ttl_s,
            wait_s=plan.wait_s,
        )
        answer = await self.asker.ask(asked)
        self._world.oracle.sessions.answered(self.name, asked, answer)
        if isinstance(answer, SessionOpened):
            await self._use(answer)
        self.asker.die()

    async def _use(self, opened: SessionOpened) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew, opened, nursery.cancel_scope)
            nursery.start_soon(self._step, opened, nursery.cancel_scope)
            await trio.sleep(self._plan.hold_s)
            nursery.cancel_scope.cancel()
        sessions = self._world.oracle.sessions
        if sessions.is_over(self.name):
            return
        sessions.leaves(self.name)
        if self._plan.leaves == "close":
            await self.asker.ask(CloseSession(session_id=opened.session_id, key=opened.key))
            sessions.closed(self.name)
        elif self._plan.leaves == "vanish":
            await trio.sleep(4 * self._plan.ttl_s)

    async def _renew(self, opened: SessionOpened, using: trio.CancelScope) -> None:
        renewal = RenewSession(session_id=opened.session_id, key=opened.key)
        while True:
            await trio.sleep(opened.ttl_s / RENEWALS_IN_TTL)
            sent_s = self._world.sim_s()
            answer = await self.asker.ask(renewal)
            if isinstance(answer, Refused):
                self._world.oracle.sessions.refused(self.name, answer)
                using.cancel()
                return
            self._world.oracle.sessions.renewed(self.name, sent_s)

    async def _step(self, opened: SessionOpened, using: trio.CancelScope) -> None:
        """Each loss truncates one episode, with the cause that the daemon gives."""
        while True:
            host = self._world.hosts.at(opened.steps)
            cause = "it is gone"
            if host is not None:
                await host.lost.wait()
                cause = host.why_lost
            recovery = RecoverSession(
                session_id=opened.session_id, key=opened.key, host=opened.host, cause=f"lost: {cause}"
            )
            answer = await self.asker.ask(recovery)
            if not isinstance(answer, SessionOpened):
                assert isinstance(answer, Refused), answer
                self._world.oracle.sessions.refused(self.name, answer)
                using.cancel()
                return
            self._world.oracle.sessions.recovered(self.name, opened, answer)
            opened = answer
