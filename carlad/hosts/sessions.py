"""All env sessions of this daemon: their one owner, and what clients ask about them."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hmac import compare_digest
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from carlad.broker.broker import Broker
from carlad.broker.holder import GoneError, Peer, identified
from carlad.broker.recent import Recent
from carlad.broker.refusals import bad_ttl
from carlad.config import Config, SessionSection
from carlad.errors import ServerError
from carlad.fleet.leftovers import end_leftovers_of
from carlad.fleet.shim_link import ShimLink, find
from carlad.hosts import refusals
from carlad.hosts.abroad import SessionPorts
from carlad.hosts.host import Place, Premises, env_host, remove_stale_secrets, remove_stale_sockets
from carlad.hosts.launch import Abroad
from carlad.hosts.line import EnvironmentRefusedError
from carlad.hosts.record import KIND, SessionRecord
from carlad.hosts.session import Session
from carlad.hosts.tenure import Order, session_of
from carlad.journal import Change, Delete, Journal, JournalError, Put
from carlad.log import get_logger
from carlad.messages import (
    CloseSession,
    Granted,
    OpenSession,
    Queued,
    RecoverSession,
    Refused,
    RenewSession,
    SessionClosed,
    SessionOpened,
    SessionRenewed,
    SessionRequest,
    SessionStatus,
    Spaces,
    SpacesQuery,
)
from carlad.runtime import Changes, NoAnswerError

log = get_logger(__name__)

_ENDS_KEPT = 1024
_SPACES_KEPT = 64
_LOOKS_AT_ONCE = 2  # processes that are started only to look at spaces
_PING = "the daemon's own question"
_LEASE_ENDS = frozenset({"lease.lost", "lease.expired", "lease.released"})


class Notify(Protocol):
    def __call__(
        self, event: str, *, lease_id: str | None, reason: str | None, session_id: str | None
    ) -> None: ...


SessionAnswer = SessionOpened | SessionRenewed | SessionClosed | Spaces | Refused


class Sessions:
    """Does not outlive its `run`; whatever comes then is refused."""

    def __init__(
        self, config: Config, premises: Premises, broker: Broker, journal: Journal, tell: Notify
    ) -> None:
        """Raises ConfigError for an environment that is not MODULE:CLASS, and for a key that is missing."""
        self.use(config)
        self._ports = SessionPorts(config.remote)
        self._premises = premises
        self._broker = broker
        self._journal = journal
        self._tell = tell
        self._sessions: dict[str, Session] = {}
        self._unwritten: dict[str, Change] = {}  # by session
        self._by_request: dict[str, str] = {}
        self._ends: Recent[Refused] = Recent(_ENDS_KEPT)
        self._looks = trio.CapacityLimiter(_LOOKS_AT_ONCE)
        self._askers: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._stopping = False
        self._restored = trio.Event()  # until then nobody is told that there is no such session
        self._ended = Changes()
        self._logs_in_use: dict[str, int] = {}

    def use(self, config: Config) -> None:
        """For every session that is opened from now on. Raises ConfigError as the constructor does."""
        self._environments = config.session.environments()
        self._limits: SessionSection = config.session
        self._ttl_s = config.lease.ttl_s
        self._ttl_max_s = config.lease.ttl_max_s
        self._spaces: Recent[Spaces] = Recent(_SPACES_KEPT)  # a name may be another environment's now

    def statuses(self) -> tuple[SessionStatus, ...]:
        return tuple(session.status() for session in self._sessions.values())

    def hear(self, event: str, lease_id: str | None, reason: str | None) -> None:
        """What the broker tells: a lease that ended may be a session's."""
        if event in _LEASE_ENDS and lease_id is not None:
            for session in list(self._sessions.values()):
                if session.lease_id == lease_id:
                    session.lose_lease(reason or event)

    async def records(self) -> dict[str, SessionRecord]:
        """Of the sessions that served when the daemon ended last. Where they cannot be read there are none:
        their env hosts are ended, and their clients told. Raises JournalError where it cannot be written."""
        return await trio.to_thread.run_sync(_read, self._journal)

    def folders(self, records: Iterable[str]) -> frozenset[Path]:
        """Of env hosts that `run` takes back or ends itself."""
        return frozenset(self._premises.runs / session_id for session_id in records)

    async def run(
        self,
        records: Mapping[str, SessionRecord],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until cancelled: then all sessions are closed. `records`: those that go on."""
        remove_stale_sockets(self._premises.sockets)
        remove_stale_secrets(self._premises.runs)
        async with trio.open_nursery() as self._nursery:
            for session_id, record in records.items():
                await self._take_back(session_id, record)
            self._restored.set()
            self._nursery.start_soon(self._give_back_of_others, records)
            task_status.started()
            await trio.sleep_forever()

    async def _give_back_of_others(self, records: Mapping[str, SessionRecord]) -> None:
        """What sessions got for a round that did not serve yet when their daemon was killed: whoever wanted
        one of those asks for another."""

        def is_unwanted(request_id: str) -> bool:
            if (session_id := session_of(request_id)) is None:
                return False
            record, session = records.get(session_id), self._sessions.get(session_id)
            served_with = record and self._broker.request_of(record.granted.lease_id)
            return request_id not in (served_with, session and session.asked_as)

        with suppress(NoAnswerError):  # else it expires
            await self._broker.withdraw(is_unwanted)

    async def _take_back(self, session_id: str, record: SessionRecord) -> None:
        """With its env host where that still serves; else it goes another round."""
        order = Order(session_id, record.asked, record.env, record.peer, record.uid, record.ttl_s)
        folder = self._premises.runs / session_id
        found: ShimLink | None = None
        try:
            found = await find(folder)
        except ServerError as error:
            log.info("session.host_gone", session_id=session_id, reason=error)
            await end_leftovers_of(folder)
        abroad = self._ports.take_back(record.port, _abroad_user(order))
        session = self._start(record.request_id, order, record.log, found, abroad)
        session.restore(record.opened, record.granted, record.losses)

    async def stop(self) -> None:
        """None is opened from now on. Returns when none is left."""
        self._stopping = True
        for session in list(self._sessions.values()):
            session.close(refusals.stopping())
        while self._sessions:
            await self._ended.wait()

    async def answer(self, request_id: str, body: SessionRequest, peer: Peer) -> SessionAnswer | None:
        """None: the request was sent again meanwhile, and who sent it last is answered."""
        if (older := self._askers.get(request_id)) is not None:
            older.cancel()
        with trio.CancelScope() as scope:
            self._askers[request_id] = scope
            try:
                return await self._answer(request_id, body, peer)
            finally:
                if self._askers.get(request_id) is scope:
                    del self._askers[request_id]
        return None

    async def ping(self) -> None:
        """Returns when a request was answered as clients' are: one about a session that never was."""
        await self.answer(_PING, RenewSession(session_id=_PING, key=""), Peer())

    def queued(self, request_id: str) -> Queued:
        """Where an `OpenSession` stands."""
        session = self._sessions.get(self._by_request.get(request_id, ""))
        waits_as = session.queued_as() if session is not None else None
        return self._broker.queued(waits_as) if waits_as is not None else Queued(position=0, waiting=0)

    def withdraw(self, request_id: str) -> None:
        """That `OpenSession` is wanted no more."""
        if (session := self._sessions.get(self._by_request.get(request_id, ""))) is not None:
            session.close(Refused(code="withdrawn", reason="the request was withdrawn"))

    async def _answer(self, request_id: str, body: SessionRequest, peer: Peer) -> SessionAnswer:
        await self._restored.wait()
        match body:
            case OpenSession():
                return await self._open(request_id, body, peer)
            case SpacesQuery():
                return await self._look(body)
            case RenewSession():
                return await self._renew(body)
            case RecoverSession():
                return await self._recover(body)
            case CloseSession():
                return await self._close(body)

    # --- one request each

    async def _open(self, request_id: str, asked: OpenSession, peer: Peer) -> SessionAnswer:
        session = self._sessions.get(self._by_request.get(request_id, ""))
        if session is None:
            order = self._order(asked, peer)
            if isinstance(order, Refused):
                return order
            abroad = self._ports.take(_abroad_user(order))
            if peer.is_remote and abroad is None:
                return refusals.no_ports(len(self._sessions))
            used = set(self._logs_in_use.values())
            log_number = next(n for n in range(len(used) + 1) if n not in used)
            session = self._start(request_id, order, log_number, None, abroad)
        else:  # who asks again is there, and was not told of it yet
            await session.renew()
        return await session.opened()

    def _order(self, asked: OpenSession, peer: Peer) -> Order | Refused:
        env = self._environments.get(asked.env)
        ttl_s = self._ttl_s if asked.ttl_s is None else asked.ttl_s
        if env is None:
            return refusals.unknown_environment(asked.env, self._environments)
        if not 0 < ttl_s <= self._ttl_max_s:
            return bad_ttl(ttl_s, self._ttl_max_s)
        if peer.is_remote and not self._ports.are_any:
            return refusals.not_local()
        if len(self._sessions) >= self._limits.sessions_max:
            return refusals.overloaded(len(self._sessions))
        if self._nursery is None or self._stopping:
            return refusals.stopping()
        try:
            holder = identified(asked.holder, peer)
        except GoneError as error:
            return Refused(code="withdrawn", reason=str(error))
        asked = msgspec.structs.replace(asked, holder=holder)
        return Order(f"session-{secrets.token_hex(4)}", asked, env, peer, _uid(peer.user), ttl_s)

    def _start(
        self, request_id: str, order: Order, number: int, found: ShimLink | None, abroad: Abroad | None
    ) -> Session:
        assert self._nursery is not None
        place = Place(
            name=order.session_id,
            log=self._premises.logs / f"session-{number}.log",
            uid=order.uid,
            patience_s=order.ttl_s,
            is_shown=True,
            abroad=abroad,
        )

        def tell(event: str, *, lease_id: str | None = None, reason: str | None = None) -> None:
            self._tell(event, lease_id=lease_id, reason=reason, session_id=order.session_id)

        async def keep_record(opened: SessionOpened, granted: Granted, losses: int) -> None:
            record = SessionRecord(
                request_id=request_id,
                asked=order.asked,
                env=order.env,
                peer=order.peer,
                uid=order.uid,
                ttl_s=order.ttl_s,
                log=number,
                losses=losses,
                opened=opened,
                granted=granted,
                port=abroad.port if abroad is not None else None,
            )
            await self._write(order.session_id, Put(KIND, order.session_id, record))

        session = Session(order, place, self._premises, self._limits, self._broker, tell, keep_record)
        self._sessions[order.session_id] = session
        self._by_request[request_id] = order.session_id
        self._logs_in_use[order.session_id] = number
        self._nursery.start_soon(self._keep, order.session_id, request_id, session, found, abroad)
        return session

    async def _keep(
        self,
        session_id: str,
        request_id: str,
        session: Session,
        found: ShimLink | None,
        abroad: Abroad | None,
    ) -> None:
        try:
            await session.run(found)
        finally:
            with trio.CancelScope(shield=True):
                await self._write(session_id, Delete(KIND, session_id))
            session.gone.set()
            del self._sessions[session_id]
            del self._by_request[request_id]
            del self._logs_in_use[session_id]
            self._ports.give_back(abroad)
            if session.end is not None:
                self._ends.put(session_id, session.end)
            self._ended.mark()

    async def _write(self, session_id: str, change: Change) -> None:
        """A session that is not on disk works none the less, and does not outlive the daemon then: it is
        tried again at the next renewal of whichever session."""
        self._unwritten[session_id] = change
        await self._write_what_is_left()

    async def _write_what_is_left(self) -> None:
        changes = dict(self._unwritten)
        try:
            await trio.to_thread.run_sync(self._journal.write, list(changes.values()))
        except JournalError as error:
            log.error("journal.failed", reason=error)  # noqa: TRY400 a traceback would help nobody
            return
        for session_id, change in changes.items():
            if self._unwritten.get(session_id) is change:
                del self._unwritten[session_id]

    async def _renew(self, body: RenewSession) -> SessionAnswer:
        session = self._of_client("renew", body.session_id, body.key)
        if isinstance(session, Refused):
            return session
        refused = await session.renew()
        if self._unwritten:
            await self._write_what_is_left()
        return refused or SessionRenewed(session_id=body.session_id, ttl_s=session.ttl_s)

    async def _recover(self, body: RecoverSession) -> SessionAnswer:
        session = self._of_client("recover", body.session_id, body.key)
        if isinstance(session, Refused):
            return session
        await session.give_up_host(body.host, body.cause)
        return await session.opened(after=body.host)

    async def _close(self, body: CloseSession) -> SessionAnswer:
        """Without its key: who asks has the right to, see `gateway.rights`."""
        session = self._of_client("close", body.session_id, body.key)
        if isinstance(session, Refused):
            return session
        session.close(refusals.no_such_session("use", body.session_id, "it was closed"))
        await session.gone.wait()
        return SessionClosed(session_id=body.session_id)

    def _of_client(self, verb: str, session_id: str, key: str | None) -> Session | Refused:
        session = self._sessions.get(session_id)
        if session is None:
            if (end := self._ends.get(session_id)) is not None:
                return refusals.ended(verb, session_id, end)
            return refusals.no_such_session(verb, session_id)
        if key is not None and not compare_digest(key.encode(), session.key.encode()):
            return refusals.wrong_key(verb, session_id)
        return session

    async def _look(self, query: SpacesQuery) -> SessionAnswer:
        """Starts a host that only constructs the environment; what it says is remembered."""
        env = self._environments.get(query.env)
        if env is None:
            return refusals.unknown_environment(query.env, self._environments)
        known_as = repr((query.env, msgspec.json.encode(query.config, order="deterministic")))
        if (known := self._spaces.get(known_as)) is not None:
            return known
        place = Place(
            name=f"look-{secrets.token_hex(4)}",
            log=self._premises.logs / "spaces.log",
            uid=os.geteuid(),
            patience_s=self._limits.start_max_s,
            is_shown=False,
        )
        remembered = self._spaces
        try:
            async with self._looks, env_host(env, place, self._premises, self._limits) as host:
                spaces = await host.construct_or_end(query.config)
        except EnvironmentRefusedError as error:
            return refusals.environment_refuses(query.env, str(error))
        except ServerError as error:
            return refusals.failed("a look at its spaces", str(error))
        found = Spaces(observation_space=spaces.observation_space, action_space=spaces.action_space)
        remembered.put(known_as, found)
        return found


def _read(journal: Journal) -> dict[str, SessionRecord]:
    try:
        return journal.read(KIND, SessionRecord)
    except JournalError as error:
        log.error("sessions.unreadable", reason=error)  # noqa: TRY400 a traceback would help nobody
    journal.write([Delete(KIND, session_id) for session_id in journal.keys(KIND)])
    return {}


def _abroad_user(order: Order) -> str | None:
    """Who steps from another machine; None: the holder is here."""
    return order.peer.user if order.peer.is_remote else None


def _uid(user: str) -> int:
    """Of a name, or of a number in its place, as `gateway.peers` has them."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return int(user) if user.isdigit() else os.geteuid()
