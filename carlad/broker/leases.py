"""The lease table: a pure machine. A stimulus and the time go in, effects come out.

Times are seconds of one clock that never goes back. What holds at any time: a live lease's slot is held
by no other; tokens grow with every grant that is tried; a lease ends when its time to live has passed
since it was last renewed, never before; requests of one priority are served in the order of arrival, and
nobody is overtaken for longer than `Queue` says.

A lease that is lost with its server is replaced where its `Acquire` wanted that: its successor, a new lease
with a new token, is given out as soon as there is a server for it, before all others. `ReplacementQuery` is
answered with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from carlad.broker import refusals
from carlad.broker.answers import Answers
from carlad.broker.book import Book
from carlad.broker.effects import Answer, Effect
from carlad.broker.endings import Endings
from carlad.broker.fence import Fence
from carlad.broker.grants import Grants
from carlad.broker.holder import Process, process_of
from carlad.broker.lease import Lease, Record
from carlad.broker.pace import Pace
from carlad.broker.queue import Waiting
from carlad.broker.terms import Terms
from carlad.journal import Change
from carlad.messages import (
    WAIT_MAX_S,
    Acquire,
    Granted,
    LeaseStatus,
    Queued,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    ReplacementQuery,
    SlotStatus,
    Withdraw,
    Withdrawn,
)

WAITING_MAX = 1024

Effects = list[Effect]


class LeaseTable:
    """`token` is the highest one that was ever tried, `records` the leases: what the journal says.

    Where there are records, tell `slots_changed` before anything else.
    """

    def __init__(self, terms: Terms, token: int, records: Iterable[Record] = ()) -> None:
        self._book = Book(records)
        self._fence = Fence()
        self._pace = Pace()
        self._answers = Answers()
        self._endings = Endings(self._book, self._fence, self._pace)
        self._grants = Grants(terms, token, self._book, self._fence, self._answers)
        self._assignment = self._grants.assignment
        self._grants.await_successors()
        self._stopping = False

    # --- what is so --------------------------------------------------------------------------------

    def leases(self, now_s: float) -> tuple[LeaseStatus, ...]:
        """The live ones, oldest first."""
        return tuple(lease.status(now_s) for lease in self._book)

    def live(self) -> dict[str, Lease]:
        """By id, oldest first."""
        return {lease.lease_id: lease for lease in self._book}

    @property
    def token(self) -> int:
        """The highest one that was tried."""
        return self._grants.token

    def processes(self) -> frozenset[Process]:
        """Local ones that hold a lease or wait for one; their deaths are to be told to `holder_died`."""
        holders = [lease.holder for lease in self._book]
        holders += [waiting.acquire.holder for waiting in self._assignment.waiting()]
        return frozenset(process for holder in holders if (process := process_of(holder)) is not None)

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return len(self._assignment)

    def requests(self) -> frozenset[str]:
        """Those that a lease lives for, or somebody waits with."""
        waiting = (one.acquire_id for one in self._assignment.waiting())
        return frozenset([*(lease.request_id for lease in self._book), *filter(None, waiting)])

    def request_of(self, lease_id: str) -> str | None:
        return self._book.request_of(lease_id)

    def queued(self, request_id: str) -> Queued:
        """Where a pending request stands."""
        waiting = self._assignment.of_request(request_id)
        if waiting is None:  # it was answered just now
            return Queued(position=0, waiting=self.waiting)
        return self._assignment.standing(waiting, self._pace.expected_wait_s(len(self._book)))

    def next_deadline_s(self) -> float | None:
        """When `time_passed` has something to do, if nothing else happens before."""
        deadlines = [lease.expires_at_s for lease in self._book]
        for waiting in self._assignment.queue:
            deadlines += [t for t in (waiting.deadline_s, waiting.paused_until_s) if t is not None]
        return min(deadlines, default=None)

    def unwritten(self) -> tuple[Change, ...]:
        """What is to be on disk, with `token`, before the effects that were returned last are performed."""
        return self._book.unwritten()

    # --- clients' stimuli --------------------------------------------------------------------------

    def acquire(self, request_id: str, acquire: Acquire, now_s: float) -> Effects:
        """Answered now or later. A request that was answered before gets the same answer again."""
        if answered := self._answers.again(request_id):
            return answered
        if self._assignment.of_request(request_id) is not None:
            return []
        if (lease_id := self._book.of_request(request_id)) is not None:  # granted before a restart
            newest = self._newest(lease_id, now_s)
            if isinstance(newest, Waiting):
                return self._grants.tell_of(newest, request_id)
            return self._answers.give(request_id, newest)
        if (refused := self._refusal(acquire)) is not None:
            return self._answers.give(request_id, refused)
        self._grants.ask(request_id, acquire, now_s)
        return self._grants.refuse_unknown_maps() + self._settle(now_s)

    def renew(self, request_id: str, renew: Renew, now_s: float) -> Effects:
        effects = self._endings.expire(now_s)
        refused = self._book.refusal("renew", renew.lease_id, renew.token)
        if refused is None and renew.ttl_s is not None:
            refused = self._refusal_of_ttl(renew.ttl_s)
        if refused is not None:
            return [*effects, Answer(request_id, refused), *self._settle(now_s)]
        lease = self._book.renew(renew.lease_id, renew.ttl_s, now_s)
        renewed = Renewed(
            lease_id=lease.lease_id,
            token=lease.token,
            ttl_s=lease.ttl_s,
            ends_in_s=lease.ends_in_s(now_s),
        )
        return [*effects, Answer(request_id, renewed), *self._settle(now_s)]

    def release(self, request_id: str, release: Release, now_s: float) -> Effects:
        """A release that was answered before gets the same answer again.

        The release of a lease that was replaced releases its successor, of which its holder may not know.
        """
        if answered := self._answers.again(request_id):
            return answered
        released = Released(lease_id=release.lease_id)
        if self._book.was_released_by(request_id, release.lease_id):  # before a restart
            return self._answers.give(request_id, released)
        effects = self._endings.expire(now_s)
        newest = self._book.newest(release.lease_id)
        refused = self._book.stale("release", release.lease_id, release.token)
        if refused is None and (waiting := self._assignment.successor_of(newest)) is not None:
            effects += self._grants.forget(waiting, refusals.withdrawn())
        elif refused is None and newest in self._book:
            effects += self._endings.give_up(self._book[newest], "it was released", now_s, request_id)
        else:
            refused = refused or self._book.refusal("release", newest, None)
        return effects + self._answers.give(request_id, refused or released) + self._settle(now_s)

    def withdraw(self, request_id: str, withdraw: Withdraw, now_s: float) -> Effects:
        """Also a request that has not arrived yet: messages may overtake each other."""
        unwanted = withdraw.request_id
        effects: Effects = [Answer(request_id, Withdrawn(request_id=unwanted))]
        for lease in self._book:
            if lease.request_id == unwanted:
                effects += self._endings.give_up(lease, "its request was withdrawn", now_s)
        for waiting in self._assignment.waiting():
            if waiting.acquire_id == unwanted:
                effects += self._grants.forget(waiting, refusals.withdrawn())
        return effects + self._answers.give(unwanted, refusals.withdrawn()) + self._settle(now_s)

    def replacement(self, request_id: str, query: ReplacementQuery, now_s: float) -> Effects:
        """Answered with the successor of a lease, now or later, or with the lease itself while it lives."""
        effects = self._endings.expire(now_s)
        refused = self._book.stale("follow", query.lease_id, query.token)
        if refused is not None:
            return [*effects, Answer(request_id, refused), *self._settle(now_s)]
        newest = self._newest(query.lease_id, now_s)
        if isinstance(newest, Waiting):
            effects += self._grants.tell_of(newest, request_id)
        else:
            effects.append(Answer(request_id, newest))
        return effects + self._settle(now_s)

    def holder_died(self, process: Process, now_s: float) -> Effects:
        """What it holds is ended, what it waits for is wanted no more."""
        effects: Effects = []
        for lease in self._book:
            if process_of(lease.holder) == process:
                effects += self._endings.end(lease, f"its holder, process {process.pid}, died", now_s)
        for waiting in self._assignment.waiting():
            if process_of(waiting.acquire.holder) == process:
                effects += self._grants.forget(waiting, refusals.withdrawn())
        return effects + self._settle(now_s)

    # --- the fleet's and the clock's stimuli -------------------------------------------------------

    def slots_changed(
        self, slots: Iterable[SlotStatus], maps: Mapping[int, frozenset[str]], now_s: float
    ) -> Effects:
        """What the fleet says now. A lease that its slot does not hold any more is lost."""
        assignment = self._assignment
        assignment.slots = {status.slot: status for status in slots}
        self._book.see(assignment.slots)
        effects = self._endings.lose(assignment.slots, now_s, replacing=not self._stopping)
        self._grants.await_successors()
        known = {lease.lease_id for lease in self._book} | assignment.reservations.leases()
        effects += self._fence.end_unknown(assignment.slots.values(), known)
        if maps != assignment.maps:
            assignment.maps = maps
            effects += self._grants.refuse_unknown_maps()
        return effects + self._grants.follow_loads(now_s) + self._settle(now_s)

    def load_began(self, slot: int, began: bool, now_s: float) -> Effects:
        """The fleet's word on a `Load`; call `slots_changed` before."""
        self._grants.load_began(slot, began, now_s)
        return self._grants.follow_loads(now_s) + self._settle(now_s)

    def claimed(self, slot: int, token: int, now_s: float) -> Effects:
        """The fleet did the `Claim`; call `slots_changed` before."""
        return self._grants.claimed(slot, token, now_s) + self._settle(now_s)

    def not_claimed(self, slot: int, token: int, now_s: float, fault: str | None = None) -> Effects:
        """The slot was not READY any more; or, with `fault`, the lease could not be put on disk."""
        return self._grants.not_claimed(slot, token, now_s, fault) + self._settle(now_s)

    def not_ended(self, lease_id: str) -> None:
        """The fleet did not do the `Scrub` or `End`: if the slot still holds the lease its end is ordered."""
        self._fence.not_done(lease_id)

    def time_passed(self, now_s: float) -> Effects:
        return self._settle(now_s)

    def idled(self, lease_id: str, idle_s: float, now_s: float) -> Effects:
        """So long nobody has been connected to its server."""
        idle_max_s = self._grants.terms.idle_max_s
        if idle_max_s is None or idle_s < idle_max_s or lease_id not in self._book:
            return []
        why = f"nobody was connected to its server for {idle_max_s:g} s"
        return self._endings.end(self._book[lease_id], why, now_s) + self._settle(now_s)

    # --- the operator's stimuli --------------------------------------------------------------------

    def use(self, terms: Terms, now_s: float) -> Effects:
        """From now on; leases that live keep the time that they were given."""
        self._grants.terms = terms
        return self._settle(now_s)

    def drain(self) -> Effects:
        """No grant from now on; leases live on, and waiters are told."""
        self._stopping = True
        effects: Effects = []
        for waiting in self._assignment.waiting():
            effects += self._grants.forget(waiting, refusals.stopping())
        return effects

    def stop(self, now_s: float) -> Effects:
        """As `drain`, and holders are told that their lease is over: the fleet ends the servers."""
        return self.drain() + self._endings.abandon(now_s)

    # --- decisions ---------------------------------------------------------------------------------

    def _refusal(self, acquire: Acquire) -> Refused | None:
        if self._stopping:
            return refusals.stopping()
        if self.waiting >= WAITING_MAX:
            return refusals.overloaded(self.waiting)
        if not 0 <= acquire.wait_s <= WAIT_MAX_S:
            return refusals.bad_wait(acquire.wait_s)
        return None if acquire.ttl_s is None else self._refusal_of_ttl(acquire.ttl_s)

    def _refusal_of_ttl(self, ttl_s: float) -> Refused | None:
        ttl_max_s = self._grants.terms.ttl_max_s
        return None if 0 < ttl_s <= ttl_max_s else refusals.bad_ttl(ttl_s, ttl_max_s)

    def _newest(self, lease_id: str, now_s: float) -> Granted | Waiting | Refused:
        """What came of a lease: it or a later one lives, or waits for its server, or there is none."""
        newest = self._book.newest(lease_id)
        if newest in self._book:
            lease = self._book[newest]
            return lease.granted(self._assignment.slots[lease.slot], now_s)
        if (waiting := self._assignment.successor_of(newest)) is not None:
            return waiting
        refused = self._book.refusal("follow", newest, None)
        assert refused is not None
        return refused

    def _settle(self, now_s: float) -> Effects:
        """Everything that is due: expiry first, then servers for those who wait, then the vain."""
        effects = self._endings.expire(now_s)
        self._assignment.end_pauses(now_s)
        if not self._stopping:
            effects += self._grants.serve(now_s)
        return effects + self._grants.refuse_the_vain(now_s)
