"""The lease table's one owner: takes requests, follows the fleet and the clock, performs the effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import msgspec
import trio

from carlad.broker import refusals
from carlad.broker.clock import Clock, boot_clock
from carlad.broker.deaths import Deaths
from carlad.broker.effects import Answer, Claim, Effect, End, Load, Scrub, Tell
from carlad.broker.holder import GoneError, Peer, Process, identified
from carlad.broker.lease import Lease
from carlad.broker.leases import LeaseTable
from carlad.broker.ledger import restore
from carlad.broker.pending import Pending
from carlad.broker.servers import Notify, Servers
from carlad.broker.terms import Terms
from carlad.broker.writer import InThread, Writer
from carlad.journal import Journal
from carlad.log import get_logger
from carlad.messages import (
    Acquire,
    LeaseRequest,
    LeaseStatus,
    Queued,
    Refused,
    Release,
    Renew,
    ReplacementQuery,
    Withdraw,
)
from carlad.runtime import Changes, NoAnswerError, Turns

log = get_logger(__name__)

_IDLE_LOOK_S = 1.0  # the fleet looks at connections as often as it probes


class Broker:
    """Survives a failed `run`, and the daemon: the next one restores the leases from the journal.

    `run` it when the fleet shows the slots as they are: a lease whose slot does not hold it is lost.
    """

    def __init__(
        self,
        servers: Servers,
        journal: Journal,
        terms: Terms,
        notify: Notify,
        clock: Clock | None = None,
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        self._servers = servers
        self._journal = journal
        self._terms = terms
        self._notify = notify
        self._clock = clock or boot_clock()
        self._in_thread = in_thread
        self.changes = Changes()  # of its leases; its one waiter is who shuts the daemon down
        self._turns = Turns()
        self._nap = trio.CancelScope()
        self._terms_changed = Changes()
        self._wakes_at_s = 0.0
        self._seen: tuple[object, object] = ((), {})
        self._table = LeaseTable(terms, 0)  # until `run`
        self._told: dict[str, Lease] = {}
        self._pending: dict[str, Pending] = {}

    async def ask(self, request_id: str, body: LeaseRequest, peer: Peer) -> Pending:
        """What `peer` asks. Raises NoAnswerError if the broker fails over it."""
        return await self._turns.take(lambda: self._take(request_id, body, peer))

    async def drain(self) -> None:
        """Refuses every new lease from now on; those that live are kept, and renewed."""
        await self._turns.take(lambda: self._do(self._table.drain()))

    def request_of(self, lease_id: str) -> str | None:
        """The request that got a lease, or the first one of those that it replaces, if it is remembered."""
        return self._table.request_of(lease_id)

    async def withdraw(self, is_unwanted: Callable[[str], bool]) -> None:
        """Those of the requests of which that is so: what they got is given back, nothing replaces it."""
        await self._turns.take(lambda: self._withdraw(is_unwanted))

    def _withdraw(self, is_unwanted: Callable[[str], bool]) -> None:
        for request_id in filter(is_unwanted, sorted(self._table.requests())):
            unwanted = Withdraw(request_id=request_id)
            self._do(self._table.withdraw(f"{request_id} is unwanted", unwanted, self._clock.now_s()))

    async def stop(self) -> None:
        """Refuses everything from now on; holders and waiters are told. Returns when that is on disk."""
        is_written = False
        while not is_written:  # whoever fails over it begins anew, and is told again
            with suppress(NoAnswerError):
                await self._turns.take(lambda: self._do(self._table.stop(self._clock.now_s())))
                is_written = await self._writer.settled()

    async def use(self, terms: Terms) -> None:
        """For every grant and renewal from now on."""
        self._terms = terms
        self._terms_changed.mark()
        await self._turns.take(lambda: self._do(self._table.use(terms, self._clock.now_s())))

    async def ping(self) -> None:
        """Returns when the broker has taken a turn."""
        await self._turns.take(lambda: None)

    async def settled(self) -> None:
        """Returns when what was decided by now is on disk, and told."""
        await self.ping()
        await self._writer.settled()

    def leases(self) -> tuple[LeaseStatus, ...]:
        """As the notices told up to now: what was decided a moment ago may still be on its way to disk."""
        now_s, live = self._clock.now_s(), self._table.live()
        return tuple(live.get(lease_id, lease).status(now_s) for lease_id, lease in self._told.items())

    def queued(self, request_id: str) -> Queued:
        """Where a request that is still pending stands."""
        return self._table.queued(request_id)

    @property
    def waiting(self) -> int:
        return self._table.waiting

    async def run(self) -> None:
        """Until cancelled. Raises JournalError where the leases cannot be read."""
        restored = await self._in_thread(restore, self._journal, self._clock.boot_id)
        self._table = LeaseTable(self._terms, restored.token, restored.records)
        self._told = self._table.live()
        self._seen = ((), {})
        self._pending = {}
        self._writer = Writer(self._journal, self._perform, self._in_thread)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._deaths = Deaths(nursery, self._bury)
                nursery.start_soon(self._writer.run, restored.token)
                self._look()
                nursery.start_soon(self._follow_fleet)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._watch_idle)
                await self._turns.serve()
        finally:
            for pending in self._pending.values():
                pending.fail()

    # --- stimuli -----------------------------------------------------------------------------------

    def _take(self, request_id: str, body: LeaseRequest, peer: Peer) -> Pending:
        if (superseded := self._pending.pop(request_id, None)) is not None:
            superseded.settle(None)
        pending = self._pending[request_id] = Pending()
        try:
            self._do(self._decide(request_id, body, peer))
        except GoneError:
            del self._pending[request_id]
            pending.settle(None)
        return pending

    def _decide(self, request_id: str, body: LeaseRequest, peer: Peer) -> list[Effect]:
        table, now_s = self._table, self._clock.now_s()
        match body:
            case Acquire():
                holder = identified(body.holder, peer)
                return table.acquire(request_id, msgspec.structs.replace(body, holder=holder), now_s)
            case Renew():
                return table.renew(request_id, body, now_s)
            case Release():
                return table.release(request_id, body, now_s)
            case Withdraw():
                return table.withdraw(request_id, body, now_s)
            case ReplacementQuery():
                return table.replacement(request_id, body, now_s)

    def _bury(self, process: Process) -> None:
        self._do(self._table.holder_died(process, self._clock.now_s()))

    async def _follow_fleet(self) -> None:
        while True:
            await self._servers.changes.wait()
            self._look()

    async def _keep_time(self) -> None:
        while True:
            self._wakes_at_s = self._deadline_s()
            with trio.CancelScope() as self._nap:
                await self._clock.sleep_until(self._wakes_at_s)
            if not self._nap.cancelled_caught:  # by an earlier deadline
                self._do(self._table.time_passed(self._clock.now_s()))

    async def _watch_idle(self) -> None:
        while True:
            with trio.move_on_after(self._may_idle_s()):
                await self._terms_changed.wait()
                continue
            for lease_id, idle_s in self._idle_s().items():
                if effects := self._table.idled(lease_id, idle_s, self._clock.now_s()):
                    self._do(effects)

    def _may_idle_s(self) -> float:
        """For so long none of the leases will have idled for too long."""
        idle_max_s = self._terms.idle_max_s
        if idle_max_s is None:
            return inf
        return max(_IDLE_LOOK_S, idle_max_s - max(self._idle_s().values(), default=0.0) - _IDLE_LOOK_S)

    def _idle_s(self) -> dict[str, float]:
        """By live lease, where it is known."""
        idle_s = {lease_id: self._servers.idle_s(lease_id) for lease_id in self._table.live()}
        return {lease_id: seconds for lease_id, seconds in idle_s.items() if seconds is not None}

    def _deadline_s(self) -> float:
        deadline_s = self._table.next_deadline_s()
        return inf if deadline_s is None else deadline_s

    def _look(self) -> None:
        slots, maps = self._servers.statuses(), self._servers.maps()
        if self._seen == (slots, maps):
            return  # we looked ourselves, after what we were woken for
        self._seen = (slots, maps)
        self._do(self._table.slots_changed(slots, maps, self._clock.now_s()))

    # --- effects -----------------------------------------------------------------------------------

    def _do(self, effects: list[Effect]) -> None:
        """What was just decided is written first."""
        self._writer.submit(self._table.unwritten(), self._table.token, effects)
        self._deaths.watch_only(self._table.processes())
        if self._deadline_s() < self._wakes_at_s:
            self._nap.cancel()

    def _perform(self, effects: list[Effect], fault: str | None) -> None:
        """With a `fault` nothing is on disk that was decided: no promise is made, but what must end ends."""
        self.changes.mark()
        for effect in effects:
            match effect:
                case Answer():
                    self._answer(effect, fault)
                case Tell():
                    self._tell(effect)
                case Claim():
                    self._nursery.start_soon(self._claim, effect, fault)
                case Load():
                    self._nursery.start_soon(self._load, effect)
                case Scrub():
                    self._nursery.start_soon(self._take_back, self._servers.release, effect)
                case End():
                    self._nursery.start_soon(self._take_back, self._servers.end, effect)

    def _answer(self, answer: Answer, fault: str | None) -> None:
        pending = self._pending.pop(answer.request_id, None)
        if pending is not None:
            is_promise = not isinstance(answer.body, Refused)
            pending.settle(refusals.journal_fails(fault) if fault and is_promise else answer.body)

    def _tell(self, tell: Tell) -> None:
        if tell.lease is not None:
            self._told[tell.lease_id] = tell.lease
        elif tell.is_end:
            self._told.pop(tell.lease_id, None)
        log.info(tell.event, slot=tell.slot, lease_id=tell.lease_id, reason=tell.reason)
        self._notify(tell.event, slot=tell.slot, lease_id=tell.lease_id, reason=tell.reason)

    async def _claim(self, claim: Claim, fault: str | None) -> None:
        is_held = fault is None and await self._lease(claim)
        self._look()
        now_s = self._clock.now_s()
        if is_held:
            self._do(self._table.claimed(claim.slot, claim.token, now_s))
        else:
            self._do(self._table.not_claimed(claim.slot, claim.token, now_s, fault))

    async def _lease(self, claim: Claim) -> bool:
        try:
            return await self._servers.lease(claim.slot, claim.lease_id, claim.expected, claim.furnished_as)
        except NoAnswerError:
            return False  # should the slot hold the lease after all, the table orders its end

    async def _load(self, load: Load) -> None:
        try:
            began = await self._servers.load(load.slot, load.map)
        except NoAnswerError:
            began = False
        self._look()
        self._do(self._table.load_began(load.slot, began, self._clock.now_s()))

    async def _take_back(self, take: Callable[[int, str, str], Awaitable[None]], order: Scrub | End) -> None:
        try:
            await take(order.slot, order.lease_id, order.reason)
        except NoAnswerError:
            self._table.not_ended(order.lease_id)
