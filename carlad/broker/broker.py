"""The lease table's one owner: takes requests, follows the fleet and the clock, performs the effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
import trio

from carlad.broker.deaths import Deaths
from carlad.broker.effects import Answer, Claim, Effect, End, Load, Scrub, Tell
from carlad.broker.holder import GoneError, Peer, Process, identified
from carlad.broker.leases import LeaseTable, Terms
from carlad.journal import Journal, JournalError
from carlad.log import get_logger
from carlad.messages import (
    Acquire,
    LeaseStatus,
    Queued,
    Release,
    Renew,
    ReplyBody,
    SlotStatus,
    Withdraw,
)
from carlad.runtime import Changes, Mailbox, NoAnswerError

log = get_logger(__name__)

_INBOX_SIZE = 64  # requests of clients that wait for the broker's next turn; the gateway bounds them


class Servers(Protocol):
    """The fleet, as far as the broker needs it."""

    changes: Changes

    def statuses(self) -> tuple[SlotStatus, ...]: ...
    def maps(self) -> frozenset[str]: ...
    async def lease(self, slot: int, lease_id: str) -> bool: ...
    async def load(self, slot: int, map: str) -> bool: ...
    async def release(self, slot: int, lease_id: str, reason: str) -> None: ...
    async def end(self, slot: int, lease_id: str, reason: str) -> None: ...


class Notify(Protocol):
    def __call__(
        self, event: str, *, slot: int | None = None, lease_id: str | None = None, reason: str | None = None
    ) -> None: ...


class Asked(msgspec.Struct, frozen=True):
    request_id: str
    body: Acquire | Renew | Release | Withdraw
    peer: Peer


class Drain(msgspec.Struct, frozen=True):
    """Refuse from now on."""


class Stop(msgspec.Struct, frozen=True):
    """Refuse and end all."""


class Use(msgspec.Struct, frozen=True):
    terms: Terms


class Ping(msgspec.Struct, frozen=True):
    """Shows that the broker takes its turns."""


_Turn = Asked | Drain | Stop | Use | Ping


class Pending:
    """An answer that comes now or later."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._body: ReplyBody | None = None
        self._failed = False

    def settle(self, body: ReplyBody | None) -> None:
        self._body = body
        self._settled.set()

    def fail(self) -> None:
        self._failed = True
        self._settled.set()

    async def wait(self) -> ReplyBody | None:
        """None: the request was sent again, and who sent it last is answered.

        Raises NoAnswerError if the broker fails meanwhile.
        """
        await self._settled.wait()
        if self._failed:
            raise NoAnswerError("the broker failed")
        return self._body


class Broker:
    """Survives a failed `run`: the next one knows no lease, so it ends every server that is held by one."""

    def __init__(self, servers: Servers, journal: Journal, terms: Terms, notify: Notify) -> None:
        self._servers = servers
        self._journal = journal
        self._terms = terms
        self._notify = notify
        self.changes = Changes()  # of its leases; its one waiter is who shuts the daemon down
        self._mailbox: Mailbox[_Turn, Pending | None] = Mailbox(_INBOX_SIZE)
        self._token_on_disk = journal.token()
        self._writing = trio.Lock()
        self._rescheduled = Changes()
        self._begin()

    def _begin(self) -> None:
        self._table = LeaseTable(self._terms, self._token_on_disk)
        self._pending: dict[str, Pending] = {}

    async def ask(self, request_id: str, body: Acquire | Renew | Release | Withdraw, peer: Peer) -> Pending:
        """What `peer` asks. Raises NoAnswerError if the broker fails over it."""
        pending = await self._mailbox.ask(Asked(request_id, body, peer))
        assert pending is not None
        return pending

    async def drain(self) -> None:
        """Refuses every new lease from now on; those that live are kept, and renewed."""
        await self._mailbox.ask(Drain())

    async def stop(self) -> None:
        """Refuses everything from now on; holders and waiters are told."""
        await self._mailbox.ask(Stop())

    async def use(self, terms: Terms) -> None:
        """For every grant and renewal from now on."""
        await self._mailbox.ask(Use(terms))

    async def ping(self) -> None:
        """Returns when the broker has taken a turn."""
        await self._mailbox.ask(Ping())

    def leases(self) -> tuple[LeaseStatus, ...]:
        return self._table.leases(trio.current_time())

    def queued(self, request_id: str) -> Queued:
        """Where a request that is still pending stands."""
        return self._table.queued(request_id)

    @property
    def waiting(self) -> int:
        return self._table.waiting

    async def run(self) -> None:
        """Until cancelled."""
        self._begin()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._deaths = Deaths(nursery, self._bury)
                self._look()
                nursery.start_soon(self._follow_fleet)
                nursery.start_soon(self._keep_time)
                await self._mailbox.serve(self._handle)
        finally:
            for pending in self._pending.values():
                pending.fail()

    async def _handle(self, request: _Turn) -> Pending | None:
        match request:
            case Asked(request_id, body, peer):
                return self._take(request_id, body, peer)
            case Drain():
                self._perform(self._table.drain())
            case Stop():
                self._perform(self._table.stop())
            case Use(terms):
                self._terms = terms
                self._perform(self._table.use(terms, trio.current_time()))
            case Ping():
                pass
        return None

    def _take(self, request_id: str, body: Acquire | Renew | Release | Withdraw, peer: Peer) -> Pending:
        if (superseded := self._pending.pop(request_id, None)) is not None:
            superseded.settle(None)
        pending = self._pending[request_id] = Pending()
        now_s = trio.current_time()
        match body:
            case Acquire():
                try:
                    holder = identified(body.holder, peer)
                except GoneError:
                    pending.settle(None)
                    return pending
                acquire = msgspec.structs.replace(body, holder=holder)
                effects = self._table.acquire(request_id, acquire, now_s)
            case Renew():
                effects = self._table.renew(request_id, body, now_s)
            case Release():
                effects = self._table.release(request_id, body, now_s)
            case Withdraw():
                effects = self._table.withdraw(request_id, body, now_s)
        self._perform(effects)
        return pending

    async def _follow_fleet(self) -> None:
        while True:
            await self._servers.changes.wait()
            self._look()

    async def _keep_time(self) -> None:
        while True:
            deadline_s = self._table.next_deadline_s()
            with trio.move_on_at(float("inf") if deadline_s is None else deadline_s):
                await self._rescheduled.wait()
                continue
            self._perform(self._table.time_passed(trio.current_time()))

    def _look(self) -> None:
        slots, maps = self._servers.statuses(), self._servers.maps()
        self._perform(self._table.slots_changed(slots, maps, trio.current_time()))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Answer():
                    if (pending := self._pending.pop(effect.request_id, None)) is not None:
                        pending.settle(effect.body)
                case Tell():
                    log.info(effect.event, slot=effect.slot, lease_id=effect.lease_id, reason=effect.reason)
                    self._notify(
                        effect.event, slot=effect.slot, lease_id=effect.lease_id, reason=effect.reason
                    )
                case Claim():
                    self._nursery.start_soon(self._claim, effect)
                case Load():
                    self._nursery.start_soon(self._load, effect)
                case Scrub():
                    self._nursery.start_soon(self._take_back, self._servers.release, effect)
                case End():
                    self._nursery.start_soon(self._take_back, self._servers.end, effect)
        self._deaths.watch_only(self._table.processes())
        self._rescheduled.mark()
        self.changes.mark()

    def _bury(self, process: Process) -> None:
        self._perform(self._table.holder_died(process, trio.current_time()))

    async def _claim(self, claim: Claim) -> None:
        """Journal first, then the server, then the reply."""
        fault = await self._put_on_disk(claim.token)
        if fault is not None:
            log.error("journal.failed", reason=fault)
        held = fault is None and await self._lease(claim)
        self._look()
        now_s = trio.current_time()
        if held:
            self._perform(self._table.claimed(claim.slot, claim.token, now_s))
        else:
            self._perform(self._table.not_claimed(claim.slot, claim.token, now_s, fault))

    async def _put_on_disk(self, token: int) -> str | None:
        """None, or what is wrong. Tokens that come together are written together."""
        async with self._writing:
            newest = self._table.token
            if token <= self._token_on_disk:
                return None
            try:
                await trio.to_thread.run_sync(partial(self._journal.write, token=newest))
            except JournalError as error:
                return str(error)
            self._token_on_disk = newest
            return None

    async def _lease(self, claim: Claim) -> bool:
        try:
            return await self._servers.lease(claim.slot, claim.lease_id)
        except NoAnswerError:
            return False  # should the slot hold the lease after all, the table orders its end

    async def _load(self, load: Load) -> None:
        try:
            began = await self._servers.load(load.slot, load.map)
        except NoAnswerError:
            began = False
        self._look()
        self._perform(self._table.load_began(load.slot, began, trio.current_time()))

    async def _take_back(self, take: Callable[[int, str, str], Awaitable[None]], effect: Scrub | End) -> None:
        try:
            await take(effect.slot, effect.lease_id, effect.reason)
        except NoAnswerError:
            self._table.not_ended(effect.lease_id)
