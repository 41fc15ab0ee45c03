"""The lease table: a pure machine. A stimulus and the time go in, effects come out.

Times are seconds of one clock that never goes back. What holds at any time: a live lease's slot is held
by no other; tokens grow with every grant that is tried; a lease ends when its time to live has passed
since it was last renewed, never before; requests are served in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from carlad.broker import refusals
from carlad.broker.book import Book, Lease, lease_name
from carlad.broker.effects import Answer, Claim, Effect, End, Load, Scrub, Tell
from carlad.broker.holder import Process, process_of
from carlad.broker.queue import Queue, Recent, Waiting
from carlad.broker.reservations import Phase, Reservation, Reservations
from carlad.messages import (
    WAIT_MAX_S,
    Acquire,
    LeaseStatus,
    Queued,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    ReplyBody,
    SlotStatus,
    Withdraw,
    Withdrawn,
)

LOADS_MAX = 2  # a map that two servers failed to load is likely to fail on the third
WAITING_MAX = 1024
ANSWERS_KEPT = 4096  # for requests that are sent again, which clients do within seconds

Effects = list[Effect]


class Terms(msgspec.Struct, frozen=True):
    """`leases_max`: how many servers may be leased at once; the others are kept back as spares."""

    ttl_s: float
    ttl_max_s: float
    leases_max: int


class LeaseTable:
    """`token` is the highest one that was ever tried: what the journal says."""

    def __init__(self, terms: Terms, token: int) -> None:
        self._terms = terms
        self._token = token
        self._arrivals = 0
        self._stopping = False
        self._slots: dict[int, SlotStatus] = {}
        self._maps: frozenset[str] = frozenset()
        self._queue = Queue()
        self._reservations = Reservations()
        self._book = Book()
        self._ending: set[str] = set()  # leases that slots still show after their end was ordered
        self._answers: Recent[ReplyBody] = Recent(ANSWERS_KEPT)

    # --- what is so --------------------------------------------------------------------------------

    def leases(self, now_s: float) -> tuple[LeaseStatus, ...]:
        """The live leases, oldest first."""
        return self._book.statuses(now_s)

    @property
    def token(self) -> int:
        """The highest one that was tried."""
        return self._token

    def processes(self) -> frozenset[Process]:
        """Local ones that hold a lease or wait for one; their deaths are to be told to `holder_died`."""
        holders = [lease.holder for lease in self._book]
        holders += [waiting.acquire.holder for waiting in self._all_waiting()]
        return frozenset(process for holder in holders if (process := process_of(holder)) is not None)

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return len(self._queue) + len(self._reservations)

    def queued(self, request_id: str) -> Queued:
        """Where a pending request stands."""
        reservation = self._reservations.of_request(request_id)
        loads = reservation is not None and reservation.phase is not Phase.CLAIMING
        return Queued(
            position=self._queue.position(request_id) or 0,
            waiting=self.waiting,
            loading=reservation.waiting.map if reservation is not None and loads else None,
        )

    def next_deadline_s(self) -> float | None:
        """When `time_passed` has something to do, if nothing else happens before."""
        deadlines = [lease.expires_at_s for lease in self._book]
        deadlines += [waiting.deadline_s for waiting in self._queue]
        return min(deadlines, default=None)

    # --- clients' stimuli --------------------------------------------------------------------------

    def acquire(self, request_id: str, acquire: Acquire, now_s: float) -> Effects:
        """Answered now or later. A request that was answered before gets the same answer again."""
        if (answer := self._answers.get(request_id)) is not None:
            return [Answer(request_id, answer)]
        if self._is_pending(request_id):
            return []
        if (refused := self._refusal(acquire)) is not None:
            return self._answer(request_id, refused)
        self._arrivals += 1
        self._queue.append(
            Waiting(
                number=self._arrivals,
                request_id=request_id,
                acquire=acquire,
                map=acquire.map and acquire.map.rpartition("/")[2],
                ttl_s=self._terms.ttl_s if acquire.ttl_s is None else acquire.ttl_s,
                deadline_s=now_s + acquire.wait_s,
            )
        )
        return self._refuse_unknown_maps() + self._settle(now_s)

    def renew(self, request_id: str, renew: Renew, now_s: float) -> Effects:
        effects = self._expire(now_s)
        refused = self._book.refusal("renew", renew.lease_id, renew.token)
        if refused is None and renew.ttl_s is not None:
            refused = self._refusal_of_ttl(renew.ttl_s)
        if refused is not None:
            return [*effects, Answer(request_id, refused), *self._settle(now_s)]
        lease = self._book[renew.lease_id]
        self._book.renew(lease, renew.ttl_s, now_s)
        renewed = Renewed(lease_id=lease.lease_id, token=lease.token, ttl_s=lease.ttl_s)
        return [*effects, Answer(request_id, renewed), *self._settle(now_s)]

    def release(self, request_id: str, release: Release, now_s: float) -> Effects:
        """A release that was answered before gets the same answer again."""
        if (answer := self._answers.get(request_id)) is not None:
            return [Answer(request_id, answer)]
        effects = self._expire(now_s)
        refused = self._book.refusal("release", release.lease_id, release.token)
        if refused is not None:
            return [*effects, *self._answer(request_id, refused), *self._settle(now_s)]
        effects += self._give_up(self._book[release.lease_id], "it was released")
        effects += self._answer(request_id, Released(lease_id=release.lease_id))
        return effects + self._settle(now_s)

    def withdraw(self, request_id: str, withdraw: Withdraw, now_s: float) -> Effects:
        """Also a request that has not arrived yet: messages may overtake each other."""
        unwanted = withdraw.request_id
        effects: Effects = [Answer(request_id, Withdrawn(request_id=unwanted))]
        for lease in self._book:
            if lease.request_id == unwanted:
                effects += self._give_up(lease, "its request was withdrawn")
        return effects + self._forget(unwanted) + self._settle(now_s)

    def holder_died(self, process: Process, now_s: float) -> Effects:
        """What it holds is ended, what it waits for is wanted no more."""
        effects: Effects = []
        for lease in self._book:
            if process_of(lease.holder) == process:
                effects += self._end(lease, "lease.expired", f"its holder, process {process.pid}, died")
        for waiting in self._all_waiting():
            if process_of(waiting.acquire.holder) == process:
                effects += self._forget(waiting.request_id)
        return effects + self._settle(now_s)

    # --- the fleet's and the clock's stimuli -------------------------------------------------------

    def slots_changed(self, slots: Iterable[SlotStatus], maps: frozenset[str], now_s: float) -> Effects:
        """What the fleet says now. A lease that its slot does not hold any more is lost."""
        self._slots = {status.slot: status for status in slots}
        effects = self._lose() + self._end_unknown()
        if maps != self._maps:
            self._maps = maps
            effects += self._refuse_unknown_maps()
        return effects + self._follow_loads(now_s) + self._settle(now_s)

    def load_began(self, slot: int, began: bool, now_s: float) -> Effects:
        """The fleet's word on a `Load`; call `slots_changed` before."""
        reservation = self._reservations.of_slot(slot, Phase.ASKED)
        if reservation is None:
            return []  # withdrawn in between
        if not began:
            return self._give_back(reservation, "its server was not ready", now_s) + self._settle(now_s)
        reservation.phase = Phase.LOADING
        reservation.waiting.loads += 1
        return self._follow_loads(now_s) + self._settle(now_s)

    def claimed(self, slot: int, token: int, now_s: float) -> Effects:
        """The fleet did the `Claim`; call `slots_changed` before."""
        reservation = self._reservations.of_slot(slot, Phase.CLAIMING)
        if reservation is None or reservation.token != token:
            return []
        status, lease_id = self._slots[slot], lease_name(token)
        if status.lease_id != lease_id:
            effects = self._give_back(reservation, status.reason, now_s)
        elif reservation.withdrawn or reservation.waiting.map not in (None, status.map):
            effects = self._order_scrub(slot, lease_id, "withdrawn, or another map by now")
            effects += self._give_back(reservation, None, now_s)
        else:
            self._reservations.drop(reservation)
            effects = self._grant(reservation.waiting, status, token, now_s)
        return effects + self._settle(now_s)

    def not_claimed(self, slot: int, token: int, now_s: float, fault: str | None = None) -> Effects:
        """The slot was not READY any more; or, with `fault`, the token could not be put on disk."""
        reservation = self._reservations.of_slot(slot, Phase.CLAIMING)
        if reservation is None or reservation.token != token:
            return []
        effects = self._give_back(reservation, "its server was not ready", now_s)
        request_id = reservation.waiting.request_id
        if fault is not None and self._queue.take(request_id) is not None:
            effects += self._answer(request_id, refusals.journal_fails(fault))
        return effects + self._settle(now_s)

    def not_ended(self, lease_id: str) -> None:
        """The fleet did not do the `Scrub` or `End`: the end is ordered if the slot still holds it."""
        self._ending.discard(lease_id)

    def time_passed(self, now_s: float) -> Effects:
        return self._settle(now_s)

    def use(self, terms: Terms, now_s: float) -> Effects:
        """From now on; leases that live keep the time that they were given."""
        self._terms = terms
        return self._settle(now_s)

    def drain(self) -> Effects:
        """No grant from now on; leases live on, and waiters are told."""
        self._stopping = True
        effects: Effects = []
        for waiting in self._all_waiting():
            effects += self._answer(waiting.request_id, refusals.stopping())
        self._queue = Queue()
        self._reservations = Reservations()
        return effects

    def stop(self) -> Effects:
        """As `drain`, and holders are told that their lease is over: the fleet ends the servers."""
        effects = self.drain()
        for lease in self._book:
            effects += self._strike(lease, "lease.lost", "carlad is stopping")
        return effects

    # --- decisions ---------------------------------------------------------------------------------

    def _all_waiting(self) -> list[Waiting]:
        """Also those for whom a slot is reserved."""
        return [*self._queue, *(r.waiting for r in self._reservations if not r.withdrawn)]

    def _forget(self, request_id: str) -> Effects:
        """The request is wanted no more."""
        if (reservation := self._reservations.of_request(request_id)) is not None:
            reservation.withdrawn = True
            if reservation.phase is not Phase.CLAIMING:  # nothing is under way that could lease it
                self._reservations.drop(reservation)
        self._queue.take(request_id)
        return self._answer(request_id, refusals.withdrawn())

    def _is_pending(self, request_id: str) -> bool:
        in_queue = self._queue.position(request_id) is not None
        return in_queue or self._reservations.of_request(request_id) is not None

    def _refusal(self, acquire: Acquire) -> Refused | None:
        if self._stopping:
            return refusals.stopping()
        if self.waiting >= WAITING_MAX:
            return refusals.overloaded(self.waiting)
        if not 0 <= acquire.wait_s <= WAIT_MAX_S:
            return refusals.bad_wait(acquire.wait_s)
        return None if acquire.ttl_s is None else self._refusal_of_ttl(acquire.ttl_s)

    def _refusal_of_ttl(self, ttl_s: float) -> Refused | None:
        fits = 0 < ttl_s <= self._terms.ttl_max_s
        return None if fits else refusals.bad_ttl(ttl_s, self._terms.ttl_max_s)

    def _refuse_unknown_maps(self) -> Effects:
        """Until a first server was READY no map is known, and none refused."""
        effects: Effects = []
        for waiting in self._queue if self._maps else ():
            if waiting.map is not None and waiting.map not in self._maps:
                self._queue.take(waiting.request_id)
                effects += self._answer(waiting.request_id, refusals.unknown_map(waiting.map, self._maps))
        return effects

    def _settle(self, now_s: float) -> Effects:
        """Everything that is due: expiry first, then servers for those who wait, then the vain."""
        effects = self._expire(now_s)
        for waiting in self._queue:
            if len(self._book) + len(self._reservations) >= self._terms.leases_max:
                break
            status = self._reservations.best_slot(self._slots.values(), waiting.map)
            if status is None:
                break  # any free server would do, so none is free for those behind either
            self._queue.take(waiting.request_id)
            effects += self._reserve(waiting, status, now_s)
        for waiting in self._queue:
            if waiting.deadline_s <= now_s:
                self._queue.take(waiting.request_id)
                vain = refusals.waited_in_vain(waiting.acquire.wait_s, self._slots.values(), waiting.setback)
                effects += self._answer(waiting.request_id, vain)
        return effects

    def _reserve(self, waiting: Waiting, status: SlotStatus, now_s: float) -> Effects:
        reservation = Reservation(status.slot, status.incarnation, waiting, now_s)
        self._reservations.add(reservation)
        if waiting.map is None or waiting.map == status.map:
            return self._claim(reservation)
        return [Load(status.slot, waiting.map)]

    def _claim(self, reservation: Reservation) -> Effects:
        self._token += 1
        reservation.token = self._token
        reservation.phase = Phase.CLAIMING
        return [Claim(reservation.slot, lease_name(self._token), self._token)]

    def _follow_loads(self, now_s: float) -> Effects:
        effects: Effects = []
        for reservation in self._reservations:
            if reservation.phase is not Phase.LOADING:
                continue
            status = self._slots.get(reservation.slot)
            if reservation.has_loaded(status):
                effects += self._claim(reservation)
            elif not reservation.still_loads(status):
                effects += self._give_back(reservation, status.reason if status else None, now_s)
        return effects

    def _give_back(self, reservation: Reservation, setback: str | None, now_s: float) -> Effects:
        """The attempt failed: the request takes its old place, its time in the queue goes on."""
        self._reservations.drop(reservation)
        waiting = reservation.waiting
        if reservation.withdrawn:
            return []
        waiting.setback = setback
        waiting.deadline_s += now_s - reservation.since_s
        if reservation.phase is Phase.LOADING and waiting.loads >= LOADS_MAX:
            refused = refusals.map_does_not_load(waiting.map or "", waiting.loads, setback)
            return self._answer(waiting.request_id, refused)
        self._queue.put_back(waiting)
        return []

    def _grant(self, waiting: Waiting, status: SlotStatus, token: int, now_s: float) -> Effects:
        lease = Lease(
            token=token,
            slot=status.slot,
            request_id=waiting.request_id,
            holder=waiting.acquire.holder,
            ttl_s=waiting.ttl_s,
            expires_at_s=now_s + waiting.ttl_s,
        )
        self._book.enter(lease)
        told = Tell("lease.granted", lease.slot, lease.lease_id)
        return [told, *self._answer(waiting.request_id, lease.granted(status))]

    def _expire(self, now_s: float) -> Effects:
        effects: Effects = []
        for lease in self._book.expired(now_s):
            effects += self._end(
                lease, "lease.expired", f"it expired {lease.ttl_s:g} s after its last renewal"
            )
        return effects

    def _lose(self) -> Effects:
        effects: Effects = []
        for lease in self._book.lost(self._slots):
            status = self._slots.get(lease.slot)
            why = f": {status.reason}" if status is not None and status.reason else ""
            effects += self._strike(lease, "lease.lost", f"its server was lost{why}")
        return effects

    def _give_up(self, lease: Lease, why: str) -> Effects:
        """Its holder wanted it to end, and so does nothing with it any more."""
        return self._strike(lease, "lease.released", why) + self._order_scrub(lease.slot, lease.lease_id, why)

    def _end(self, lease: Lease, event: str, why: str) -> Effects:
        return self._strike(lease, event, why) + self._order_end(lease.slot, lease.lease_id, why)

    def _strike(self, lease: Lease, event: str, why: str) -> Effects:
        self._book.strike(lease, why)
        return [Tell(event, lease.slot, lease.lease_id, why)]

    def _order_scrub(self, slot: int, lease_id: str, why: str) -> Effects:
        self._ending.add(lease_id)
        return [Scrub(slot, lease_id, why)]

    def _order_end(self, slot: int, lease_id: str, why: str) -> Effects:
        self._ending.add(lease_id)
        return [End(slot, lease_id, why)]

    def _end_unknown(self) -> Effects:
        """A slot may hold a lease of an earlier run of this broker: nobody would ever end it."""
        held = {s.lease_id: s.slot for s in self._slots.values() if s.lease_id is not None}
        claimed = {lease_name(r.token) for r in self._reservations}
        self._ending &= held.keys()
        effects: Effects = []
        for lease_id, slot in held.items():
            if lease_id not in self._book and lease_id not in claimed and lease_id not in self._ending:
                effects += self._order_end(slot, lease_id, "the broker does not know the lease")
        return effects

    def _answer(self, request_id: str, body: ReplyBody) -> Effects:
        """An answer that is kept, for a request that is sent again."""
        self._answers.put(request_id, body)
        return [Answer(request_id, body)]
