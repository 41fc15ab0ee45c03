"""Clients: they ask, hold, renew, use and leave, orderly or not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import trio

from carlad.errors import ServerError
from carlad.messages import (
    Acquire,
    Granted,
    Holder,
    Refused,
    Release,
    Renew,
    ReplacementQuery,
    ReplyBody,
    RequestBody,
)
from carlad.rpc import RpcClient, connect
from carlad.wire import types as t
from carlad.wire.errors import CallError
from tests.simulation.machine import party
from tests.simulation.post import Sender, is_final
from tests.simulation.schedule import Client, Stranger
from tests.simulation.server import vehicle

if TYPE_CHECKING:
    from tests.simulation.world import World

_ANSWER_MAX_S = 20.0  # of a call: a map may be loaded meanwhile
_ASK_AGAIN_S = 0.5
_STILL_WAITS_S = 5.0  # then the request is sent again


class Asker:
    """Asks for one client until it is answered, as `Link` does. `holder`: what it says of itself."""

    def __init__(self, world: World, name: str, uid: int, *, is_known: bool) -> None:
        self._world = world
        self._sender = Sender(name, uid, world.machine.start_program())
        self._requests = count()
        pid = self._sender.pid if is_known else 0
        self.holder = Holder(user="whoever", host="sim", program=name, pid=pid)

    def die(self) -> None:
        """Its process has ended; once."""
        if self._sender.pid in self._world.machine.programs:
            self._world.oracle.died(self._sender.name, is_known=self.holder.pid != 0)
            self._world.machine.end_program(self._sender.pid)

    async def ask(self, body: RequestBody) -> ReplyBody:
        """Asks anew until it can be done."""
        while not is_final(answer := await self._ask_once(body)):  # noqa: ASYNC110 there is no event
            await trio.sleep(_ASK_AGAIN_S)
        return answer

    async def _ask_once(self, body: RequestBody) -> ReplyBody:
        request_id = f"{self._sender.name} request {next(self._requests)}"
        post = self._world.post
        while (answer := await post.ask(self._sender, request_id, body, _STILL_WAITS_S)) is None:
            pass
        return answer


class ClientRun:
    """One client's life. `name` is also its party."""

    def __init__(self, world: World, plan: Client) -> None:
        self._world, self._plan = world, plan
        self.name = f"client{plan.number}"
        self.asker = Asker(world, self.name, plan.uid, is_known=plan.is_known)
        self._using = trio.CancelScope()

    async def run(self) -> None:
        party.set(self.name)
        plan = self._plan
        asked = Acquire(
            holder=self.asker.holder,
            map=plan.map,
            ttl_s=plan.ttl_s,
            wait_s=plan.wait_s,
            priority=plan.priority,
            replace=plan.replace,
        )
        answer = await self.asker.ask(asked)
        while isinstance(answer, Granted):
            self._world.oracle.was_told(self.name, asked, answer)
            if not await self._hold(answer):
                break
            answer = await self.asker.ask(ReplacementQuery(lease_id=answer.lease_id, token=answer.token))
        self._world.oracle.left(self.name, answer)
        self.asker.die()

    async def _hold(self, granted: Granted) -> bool:
        """True: its server was lost, and it wants another one."""
        lost, self._using = False, trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._use, granted)
            with trio.move_on_after(self._plan.hold_s) as holding:
                lost = await self._renew_until_refused(granted)
            if holding.cancelled_caught:
                await self._leave(granted)
            nursery.cancel_scope.cancel()
        return lost and self._plan.replace

    async def _renew_until_refused(self, granted: Granted) -> bool:
        """True: it was lost and not merely late."""
        while True:
            await trio.sleep(self._plan.ttl_s / 3)
            sent_s = self._world.now_s()
            answer = await self.asker.ask(Renew(lease_id=granted.lease_id, token=granted.token))
            if isinstance(answer, Refused):
                return True
            self._world.oracle.renewed(granted.lease_id, sent_s)

    async def _leave(self, granted: Granted) -> None:
        plan = self._plan
        if plan.leaves == "die":
            self.asker.die()
            return
        if plan.leaves == "vanish":
            await trio.sleep(plan.beyond_s)
            return
        self._world.oracle.wants_to_leave(granted.lease_id)
        release = Release(lease_id=granted.lease_id, token=granted.token)
        if plan.leaves == "release":  # `_use` has closed its connection before
            self._using.cancel()
            await self.asker.ask(release)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.asker.ask, release)
            await trio.sleep(plan.beyond_s)

    async def _use(self, granted: Granted) -> None:
        """As scripts do: synchronous mode, vehicles, ticks; whoever loses the server is just gone."""
        with self._using, suppress(ServerError, CallError, trio.TooSlowError):
            async with connect(granted.host, granted.rpc_port) as rpc:
                with trio.fail_after(_ANSWER_MAX_S):
                    await rpc.call("set_episode_settings", t.EpisodeSettings(synchronous_mode=True))
                await drive(rpc, self._world.traits.commands_s)


async def drive(rpc: RpcClient, every_s: float, is_stuck: Callable[[], bool] = lambda: False) -> None:
    """For ever, but for times when it `is_stuck`. Raises ServerError, CallError."""
    await rpc.call("spawn_actor", *vehicle())
    while True:
        with trio.move_on_after(0.0 if is_stuck() else _ANSWER_MAX_S):
            await rpc.calls(("tick_cue",), ("set_weather_parameters", t.WeatherParameters(cloudiness=50.0)))
        await trio.sleep(every_s)


async def meddle(world: World, plan: Stranger) -> None:
    """Whoever was never given the server."""
    party.set("stranger")
    status = world.status(plan.slot) if world.life is not None and world.life.broker is not None else None
    port = status.rpc_port if status is not None else None
    with suppress(ServerError, CallError), trio.move_on_after(plan.stays_s + 0.01):
        if port is not None:
            async with connect("127.0.0.1", port) as rpc:
                await drive(rpc, world.traits.commands_s)
