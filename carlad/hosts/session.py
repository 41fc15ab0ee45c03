"""One env session: an env host on a leased server, and another round of both when either is lost."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol

import trio

from carlad.broker.broker import Broker
from carlad.broker.deaths import death_of
from carlad.broker.holder import process_of
from carlad.config import SessionSection
from carlad.errors import ServerError
from carlad.fleet.shim_link import ShimLink
from carlad.hosts import refusals
from carlad.hosts.host import CRASH_SPEAKS_FIRST_S, EnvHost, Place, Premises, env_host, env_host_again
from carlad.hosts.lifecycle import Event, Lifecycle, State
from carlad.hosts.line import EnvironmentRefusedError
from carlad.hosts.tenure import Order, Tenure
from carlad.log import get_logger
from carlad.messages import (
    Granted,
    Refused,
    SessionOpened,
    SessionStatus,
)
from carlad.runtime import Changes, RestartPolicy, Restarts
from carlad.session.protocol import Constructed
from carlad.ttl import RENEWALS_IN_TTL

log = get_logger(__name__)

# An environment that fails each of its first steps would otherwise wear out servers for ever.
_ROUNDS = RestartPolicy(backoff_s=0.05, backoff_max_s=5.0, restarts_max=8, period_s=60.0)
_FIRST_ATTEMPTS_MAX = 3  # of a session that has never served
_RELEASE_MAX_S = 5.0


class Tell(Protocol):
    def __call__(self, event: str, *, lease_id: str | None = None, reason: str | None = None) -> None: ...


KeepRecord = Callable[[SessionOpened, Granted, int], Awaitable[None]]


class Session:
    """`opened` and the like are for clients' requests, `run` is its life."""

    def __init__(
        self,
        order: Order,
        place: Place,
        premises: Premises,
        limits: SessionSection,
        broker: Broker,
        tell: Tell,
        keep_record: KeepRecord,
    ) -> None:
        self.gone = trio.Event()  # set by who runs it, when nothing of it is left
        self.key = secrets.token_hex(16)
        self.telemetry = f"ipc://{premises.sockets / place.name.rpartition('-')[2]}.view"
        self._order = order
        self._place = place
        self._premises = premises
        self._limits = limits
        self._tenure = Tenure(order, broker)
        self._tell = tell
        self._keep_record = keep_record
        self._lifecycle = Lifecycle()
        self._restarts = Restarts(_ROUNDS, Random())
        self._life = trio.CancelScope()
        self._round = trio.CancelScope()
        self._changed = trio.Event()
        self._rescheduled = Changes()
        self._number = 0
        self._losses = 0
        self._pid: int | None = None
        self._host: EnvHost | None = None
        self._opened: SessionOpened | None = None
        self._cause: str | None = None  # why the last round ended
        self._lost_server: str | None = None
        self._lost_when = State.PREPARING
        self._end: Refused | None = None
        self._expires_at = float("inf")  # until it is opened: who waits for that is watched
        self._served_at = 0.0
        self._served_s = 0.0  # in the last round

    # --- what clients ask

    @property
    def ttl_s(self) -> float:
        return self._order.ttl_s

    @property
    def lease_id(self) -> str | None:
        return self._tenure.lease_id

    @property
    def end(self) -> Refused | None:
        """Why it is over; None while it is not."""
        return self._end

    @property
    def asked_as(self) -> str:
        """The broker's name for its newest request of this daemon's time; empty where there is none."""
        return self._tenure.request_id

    def queued_as(self) -> str | None:
        """`asked_as`, while that waits."""
        return self.asked_as if self._lifecycle.state is State.WAITING else None

    async def opened(self, after: int = 0) -> SessionOpened | Refused:
        """As soon as an env host with a number above `after` serves, or the session is over."""
        while True:
            if self._end is not None:
                return self._end
            serves = self._lifecycle.state is State.SERVING
            if serves and self._opened is not None and self._opened.host > after:
                return self._opened
            await self._changed.wait()

    async def give_up_host(self, number: int, cause: str) -> None:
        """The client cannot go on with that one. Nothing happens where it is another by now."""
        with trio.move_on_after(CRASH_SPEAKS_FIRST_S):
            while self._serves(number):
                await self._changed.wait()
        if self._serves(number):
            self._lose(cause)
            self._hasten()

    def lose_lease(self, reason: str) -> None:
        """The broker ended it."""
        self._tenure.lose()
        self._lose(reason)
        self._hasten()

    async def renew(self) -> Refused | None:
        """It, and the lease under it, live for another while."""
        if self._expires_at < float("inf"):
            self._expires_at = trio.current_time() + self._order.ttl_s
        await self._tenure.renew()
        return self._end

    def close(self, why: Refused) -> None:
        """The first reason counts. `run` returns when nothing is left."""
        if self._end is None:
            self._end = why
            self._enter(Event.CLOSED)
            self._life.cancel()

    def _hasten(self) -> None:
        if self._host is not None:
            self._host.hasten()

    def _expires_in_s(self) -> float:
        """All of its time to live while it is not opened yet."""
        left_s = self._expires_at - trio.current_time()
        return min(max(0.0, left_s), self._order.ttl_s)

    def _serves(self, number: int) -> bool:
        return self._lifecycle.state is State.SERVING and self._number == number

    def status(self) -> SessionStatus:
        return SessionStatus(
            session_id=self._order.session_id,
            state=self._lifecycle.state.value,
            env=self._order.asked.env,
            holder=str(self._order.asked.holder),
            lease_id=self.lease_id,
            server=self._tenure.address,
            host=self._number,
            pid=self._pid,
            expires_in_s=self._expires_in_s(),
            losses=self._losses,
            reason=self._cause,
            telemetry=self.telemetry,
            log=str(self._place.log),
            remote_telemetry=self._place.abroad.telemetry if self._place.abroad is not None else None,
        )

    # --- its life

    async def run(self, found: ShimLink | None = None) -> None:
        """Until it is closed, for whatever reason; nothing is left then. `found`: its host, taken back."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_holder)
                    nursery.start_soon(self._keep_time)
                    if found is not None:
                        await self._go_on(found)
                        await self._pause()
                    elif self._tenure.granted is not None:
                        await self._check_lease()
                        self._lose("its env host ended while the daemon was away")
                        await self._tenure.give_back(for_good=self._end is not None)
                    while self._end is None:
                        await self._one_round()
                        await self._pause()
        finally:
            self.close(refusals.stopping())
            await self._tenure.give_back(for_good=self._end is not None)
            self._tell("session.closed", reason=self._end.reason if self._end else None)

    async def _one_round(self) -> None:
        """An env host on a server, until either is lost."""
        self._number += 1
        try:
            with trio.CancelScope() as self._round:
                async with env_host(self._order.env, self._place, self._premises, self._limits) as host:
                    self._pid, self._host = host.pid, host
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._watch_host, host)
                        nursery.start_soon(self._keep_lease_until_served)
                        await self._serve(host)
        except ServerError as error:  # it could not be started, or something of it does not die
            self._lose(str(error))
        finally:
            self._pid = self._host = None
            await self._tenure.give_back(for_good=self._end is not None)

    def restore(self, opened: SessionOpened, granted: Granted, losses: int) -> None:
        """What an earlier daemon knew of it. It has its whole time to live from now on."""
        self.key, self._number, self._losses = opened.key, opened.host, losses
        self._opened, self._tenure.granted = opened, granted
        self._expires_at = trio.current_time() + self._order.ttl_s

    async def _go_on(self, found: ShimLink) -> None:
        """The round that an earlier daemon began, from where it serves."""
        assert self._opened is not None, "go on without a record"
        secret, again = self._opened.secret, env_host_again
        try:
            with trio.CancelScope() as self._round:
                async with again(found, secret, self._place, self._premises, self._limits) as host:
                    self._pid, self._host = host.pid, host
                    self._served_at = trio.current_time()
                    await self._reach(Event.ADOPTED)
                    self._tell("session.recovered", lease_id=self.lease_id, reason="taken back")
                    await self._check_lease()
                    await self._watch_host(host)
        except ServerError as error:
            self._lose(str(error))
        finally:
            self._pid = self._host = None
            await self._tenure.give_back(for_good=self._end is not None)

    async def _check_lease(self) -> None:
        if not await self._tenure.is_live():
            self.lose_lease("its lease ended while the daemon was away")

    async def _serve(self, host: EnvHost) -> None:
        try:
            spaces = await host.construct(self._order.asked.config)
            await self._reach(Event.PREPARED)
            granted = await self._tenure.acquire(goes_on=self._opened is not None)
            if not isinstance(granted, Granted):
                self.close(granted or self._over("its holder is gone"))
                return
            await self._reach(Event.LEASED)
            await host.attach(granted)
        except EnvironmentRefusedError as error:
            self._refuse(str(error))
        except ServerError as error:
            self._lose(str(error))
        else:
            await self._become_serving(host, spaces, granted)
            await trio.sleep_forever()

    async def _become_serving(self, host: EnvHost, spaces: Constructed, granted: Granted) -> None:
        abroad = self._place.abroad if self._order.peer.is_remote else None
        self._opened = SessionOpened(
            session_id=self._order.session_id,
            key=self.key,
            host=self._number,
            steps=f"ipc://{host.door.steps}" if abroad is None else abroad.steps,
            secret=host.secret,
            telemetry=self.telemetry if abroad is None else abroad.telemetry,
            observation_space=spaces.observation_space,
            action_space=spaces.action_space,
            server=self._tenure.address or "",
            map=granted.map,
            ttl_s=self._order.ttl_s,
            cause=self._cause if self._opened is not None else None,
            lost_server=self._lost_server,
        )
        await self._keep_record(self._opened, granted, self._losses)
        # It may be lost since, and a thread does not hear of it.
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._tenure.renew()  # from now on its client does, who has all of the time to live until then
        await self._reach(Event.ATTACHED)
        self._served_at = trio.current_time()
        if self._expires_at == float("inf"):
            self._expires_at = self._served_at + self._order.ttl_s
            self._rescheduled.mark()
        self._tell("session.recovered" if self._losses else "session.opened", lease_id=granted.lease_id)

    async def _watch_host(self, host: EnvHost) -> None:
        self._lose(await host.ended())

    async def _watch_holder(self) -> None:
        if (process := process_of(self._order.asked.holder)) is not None:
            await death_of(process)
            self.close(self._over(f"its holder, process {process.pid}, died"))

    async def _keep_time(self) -> None:
        while trio.current_time() < self._expires_at:
            with trio.move_on_at(self._expires_at):
                await self._rescheduled.wait()
        self.close(self._over(f"it expired {self._order.ttl_s:g} s after its last renewal"))

    async def _keep_lease_until_served(self) -> None:
        """A host may take longer to attach than the lease lives, and its client does not know of it yet."""
        while self._lifecycle.state is not State.SERVING:
            await trio.sleep(self._order.ttl_s / RENEWALS_IN_TTL)
            await self._tenure.renew()

    # --- state

    def _refuse(self, words: str) -> None:
        """By the environment: it would say the same on any server."""
        if self._opened is None:
            self.close(refusals.environment_refuses(self._order.asked.env, words))
        else:
            self._lose(words)

    def _lose(self, cause: str) -> None:
        """This round is over. The first cause counts."""
        if self._end is not None or self._round.cancel_called:
            return
        self._lost_when = self._lifecycle.state
        is_serving = self._lost_when is State.SERVING
        self._served_s = trio.current_time() - self._served_at if is_serving else 0.0
        self._restarts.ran(self._served_s)
        self._lost_server = self._opened.server if self._opened is not None else None
        self._cause = cause
        self._losses += 1
        self._enter(Event.LOST)
        self._tell("session.lost", lease_id=self.lease_id, reason=cause)
        self._round.cancel()

    async def _pause(self) -> None:
        if self._end is not None:
            return
        backoff_s = self._restarts.failed()
        is_first = self._opened is None
        if is_first and (self._lost_when is State.PREPARING or self._losses >= _FIRST_ATTEMPTS_MAX):
            self.close(refusals.failed(self._order.session_id, self._cause or ""))
            return
        if backoff_s is None:
            self.close(refusals.failed(self._order.session_id, f"it failed too often, lastly: {self._cause}"))
            return
        await trio.sleep(max(0.0, backoff_s - self._served_s))  # whoever served for longer wears nothing out

    def _over(self, why: str) -> Refused:
        return refusals.no_such_session("keep", self._order.session_id, why)

    async def _reach(self, event: Event) -> None:
        """Unless the round is over: what led there may have come at the same moment as its end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._enter(event)

    def _enter(self, event: Event) -> None:
        self._lifecycle.advance(event)
        self._changed.set()
        self._changed = trio.Event()
