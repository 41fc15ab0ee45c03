"""Who answers which request, and how long that may take."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol

import trio

import carlad
from carlad.broker.broker import Broker
from carlad.broker.grants import LOADS_MAX
from carlad.broker.holder import Peer
from carlad.fleet.logs import Excerpt
from carlad.gateway import rights
from carlad.gateway.notices import Notices
from carlad.gateway.operator import Operator, refusal_of
from carlad.hosts.sessions import Sessions
from carlad.messages import (
    WAIT_MAX_S,
    Acquire,
    CloseSession,
    DaemonStatus,
    EventsQuery,
    LogLines,
    LogsQuery,
    OpenSession,
    RecoverSession,
    Refused,
    Release,
    Renew,
    RenewSession,
    ReplacementQuery,
    ReplyBody,
    Request,
    RequestBody,
    SessionRequest,
    SlotStatus,
    SlotVitals,
    SpacesQuery,
    Status,
    StatusQuery,
    Upgrade,
    Vitals,
    VitalsQuery,
    Withdraw,
)
from carlad.runtime import NoAnswerError

QUEUED_AFTER_S = 0.5  # a grant from a free server is faster; clients take more silence for a dead daemon
ANSWER_MAX_S = 10.0
_LEASES_READ_MAX_S = 1.0  # by a daemon that has just started
UPGRADE_MAX_S = 40.0  # a successor is asked whether it would start

Interim = Callable[[ReplyBody], Awaitable[None]]


class Servers(Protocol):
    """The fleet, as far as clients may look into it."""

    def statuses(self) -> tuple[SlotStatus, ...]: ...
    def vitals(self) -> tuple[SlotVitals, ...]: ...
    async def log(self, slot: int, lines: int, after: str | None) -> Excerpt: ...


class Desk:
    """`load_max_s`: how long a server may take to load a map. `remote_operators`: see `rights`."""

    def __init__(
        self,
        broker: Broker,
        servers: Servers,
        sessions: Sessions,
        notices: Notices,
        operator: Operator,
        load_max_s: float,
        remote_operators: Collection[str] = (),
    ) -> None:
        self._broker = broker
        self._servers = servers
        self._sessions = sessions
        self._notices = notices
        self._operator = operator
        self._remote_operators = remote_operators
        self._reserved_max_s = LOADS_MAX * load_max_s + ANSWER_MAX_S
        self._started_at_s = trio.current_time()
        self._knows_leases = False  # of the daemon before

    async def answer(self, request: Request, peer: Peer, interim: Interim) -> ReplyBody | None:
        """The answer to what `peer` asks, after none or some by `interim`.

        None: the request was sent again meanwhile, and who sent it last is answered.
        """
        if (refused := self._refusal(request.body, peer)) is not None:
            return refused
        limit_s = self._limit_s(request.body)
        with trio.move_on_after(limit_s):
            try:
                return await self._answer(request, peer, interim)
            except NoAnswerError:
                return Refused(
                    code="unavailable", reason="a part of the daemon had to be restarted: ask again"
                )
        return Refused(code="overloaded", reason=f"no answer within {limit_s:g} s")

    def _refusal(self, body: RequestBody, peer: Peer) -> Refused | None:
        if not peer.is_remote:  # the socket's permissions have decided
            return None
        leases, sessions = self._broker.leases(), self._sessions.statuses()
        return rights.refusal(body, peer, leases, sessions, self._remote_operators)

    def _limit_s(self, body: RequestBody) -> float:
        match body:
            case Acquire():
                # 0.0 comes first so that it wins against NaN, which the broker refuses.
                return min(max(0.0, body.wait_s), WAIT_MAX_S) + self._reserved_max_s
            case ReplacementQuery():
                return WAIT_MAX_S
            case OpenSession() | RecoverSession() | SpacesQuery():
                return 2 * WAIT_MAX_S  # a session has limits of its own for each thing that it waits for
            case Upgrade():
                return UPGRADE_MAX_S
            case _:
                return ANSWER_MAX_S

    async def _answer(self, request: Request, peer: Peer, interim: Interim) -> ReplyBody | None:
        match request.body:
            case StatusQuery():
                await self._until_leases_are_known()
                return self._status()
            case VitalsQuery():
                return Vitals(slots=self._servers.vitals())
            case EventsQuery(after, run):
                return self._notices.since(after, run)
            case LogsQuery() as query:
                return await self._log_lines(query)
            case Acquire() | ReplacementQuery() as body:
                return await self._wait(request.request_id, body, peer, interim)
            case OpenSession() | RecoverSession() | SpacesQuery() as body:
                return await self._wait_for_session(request.request_id, body, peer, interim)
            case RenewSession() | CloseSession() as body:
                return await self._sessions.answer(request.request_id, body, peer)
            case Renew() | Release() | Withdraw() as body:
                if isinstance(body, Withdraw):
                    self._sessions.withdraw(body.request_id)
                return await (await self._broker.ask(request.request_id, body, peer)).wait()
            case body:
                return await self._operator.answer(request.request_id, body)

    async def _until_leases_are_known(self) -> None:
        """A moment after a start, unless the broker fails: then it is told what is known."""
        with trio.move_on_after(_LEASES_READ_MAX_S), suppress(NoAnswerError):
            if not self._knows_leases:
                await self._broker.ping()
                self._knows_leases = True

    def _status(self) -> Status:
        return Status(
            daemon=DaemonStatus(
                pid=os.getpid(),
                version=carlad.__version__,
                uptime_s=trio.current_time() - self._started_at_s,
            ),
            slots=self._servers.statuses(),
            leases=self._broker.leases(),
            sessions=self._sessions.statuses(),
            waiting=self._broker.waiting,
            notice=self._notices.newest,
            run=self._notices.run,
        )

    async def _log_lines(self, query: LogsQuery) -> ReplyBody:
        if (refused := refusal_of(query.slot, self._servers.statuses())) is not None:
            return refused
        found = await self._servers.log(query.slot, query.lines, query.after)
        return LogLines(
            slot=query.slot,
            lines=found.lines,
            place=found.place,
            unfinished=found.unfinished,
            is_gap=found.is_gap,
        )

    async def _wait(
        self, request_id: str, body: Acquire | ReplacementQuery, peer: Peer, interim: Interim
    ) -> ReplyBody | None:
        pending = await self._broker.ask(request_id, body, peer)
        with trio.move_on_after(QUEUED_AFTER_S):
            return await pending.wait()
        await interim(self._broker.queued(request_id))
        return await pending.wait()

    async def _wait_for_session(
        self, request_id: str, body: SessionRequest, peer: Peer, interim: Interim
    ) -> ReplyBody | None:
        answer: ReplyBody | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reassure, request_id, interim)
            answer = await self._sessions.answer(request_id, body, peer)
            nursery.cancel_scope.cancel()
        return answer

    async def _reassure(self, request_id: str, interim: Interim) -> None:
        await trio.sleep(QUEUED_AFTER_S)
        await interim(self._sessions.queued(request_id))
