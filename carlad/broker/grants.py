"""How a request becomes a lease: a slot is reserved, loads the map, is claimed, and granted."""

from __future__ import annotations

from carlad.broker import refusals
from carlad.broker.answers import Answers
from carlad.broker.assignment import Assignment
from carlad.broker.book import Book
from carlad.broker.effects import Claim, Effect, Load, Tell
from carlad.broker.fence import Fence
from carlad.broker.lease import Lease
from carlad.broker.queue import Waiting
from carlad.broker.reservations import Phase, Reservation
from carlad.broker.terms import Terms
from carlad.messages import Acquire, Refused, SlotStatus

# A claim that took longer is undone. What is written of a lease before it is claimed ends so much later than
# it would from then on, so that it never ends too early for a daemon that is restarted before its renewal.
CLAIM_MAX_S = 10.0
FAULT_PAUSE_S = 1.0  # until the successor of a lost lease is tried again, after the disk was full
LOADS_MAX = 2  # a map that two servers failed to load is likely to fail on the third

Effects = list[Effect]


class Grants:
    """`token`: the highest that was ever tried."""

    def __init__(self, terms: Terms, token: int, book: Book, fence: Fence, answers: Answers) -> None:
        self.terms = terms
        self.token = token
        self.assignment = Assignment()
        self._book = book
        self._fence = fence
        self._answers = answers

    # --- who waits ---------------------------------------------------------------------------------

    def ask(self, request_id: str, acquire: Acquire, now_s: float) -> None:
        queue = self.assignment.queue
        queue.add(
            Waiting(
                rank=queue.rank(now_s - acquire.priority * self.terms.head_start_s),
                request_id=request_id,
                acquire=acquire,
                map=acquire.map and acquire.map.rpartition("/")[2],
                ttl_s=self.terms.ttl_s if acquire.ttl_s is None else acquire.ttl_s,
                deadline_s=now_s + acquire.wait_s,
            )
        )

    def await_successors(self) -> None:
        """Of all leases that were lost and are to be replaced: they come before all others."""
        queue = self.assignment.queue
        for lease in self._book.unreplaced():
            if self.assignment.successor_of(lease.lease_id) is None:
                queue.add(
                    Waiting(
                        rank=queue.rank(float("-inf")),
                        request_id=None,
                        acquire=lease.acquire,
                        map=lease.map,
                        ttl_s=lease.ttl_s,
                        deadline_s=lease.ends_at_s,
                        replaces=lease,
                    )
                )

    def tell_of(self, waiting: Waiting, request_id: str) -> Effects:
        """That request is answered with the successor, and not the one before it, which was the same's."""
        before, waiting.request_id = waiting.request_id, request_id
        return [] if before in (None, request_id) else self._answers.give(before, refusals.asked_anew())

    def forget(self, waiting: Waiting, answer: Refused) -> Effects:
        """The request is over without a server."""
        self.assignment.withdraw(waiting)
        effects: Effects = []
        if (lost := waiting.replaces) is not None:
            self._book.give_up(lost.lease_id, answer.reason)
            effects.append(Tell("lease.given_up", lost.slot, lost.lease_id, answer.reason))
        if waiting.request_id is not None:
            effects += self._answers.give(waiting.request_id, answer)
        return effects

    def refuse_unknown_maps(self) -> Effects:
        """Until a first server was READY no map is known, and none refused."""
        effects: Effects = []
        known = self.assignment.known_maps()
        for waiting in self.assignment.queue if known else ():
            if waiting.map is not None and waiting.map not in known:
                effects += self.forget(waiting, refusals.unknown_map(waiting.map, known))
        return effects

    def refuse_the_vain(self, now_s: float) -> Effects:
        """Those whose time is up."""
        effects: Effects = []
        for waiting in self.assignment.queue:
            if waiting.deadline_s is not None and waiting.deadline_s <= now_s:
                effects += self.forget(waiting, self._vain(waiting))
        return effects

    def _vain(self, waiting: Waiting) -> Refused:
        quota, wait_s = self.terms.quota.of(waiting.user), waiting.acquire.wait_s
        if waiting.is_at_quota and quota is not None:
            return refusals.over_quota(waiting.user, quota, wait_s)
        slots = self.assignment.slots.values()
        return refusals.waited_in_vain(wait_s, slots, self.terms.spares, waiting.setback)

    # --- what they get -----------------------------------------------------------------------------

    def serve(self, now_s: float) -> Effects:
        """Reserves a slot for everybody for whom there is one."""
        effects: Effects = []
        while True:
            served = self.assignment.next(self.terms, (lease.holder.user for lease in self._book))
            if served is None:
                return effects
            effects += self._reserve(*served, now_s)

    def follow_loads(self, now_s: float) -> Effects:
        """Call it when slots have changed."""
        effects: Effects = []
        for reservation in self.assignment.reservations:
            if reservation.phase is not Phase.LOADING:
                continue
            status = self.assignment.slots.get(reservation.slot)
            if reservation.has_loaded(status):
                effects += self._claim(reservation, now_s)
            elif not reservation.still_loads(status):
                effects += self._load_failed(reservation, status.reason if status else None, now_s)
        return effects

    def load_began(self, slot: int, began: bool, now_s: float) -> None:
        reservation = self.assignment.reservations.of_slot(slot, Phase.ASKED)
        if reservation is None:
            return  # withdrawn in between
        if began:
            reservation.phase = Phase.LOADING
            reservation.waiting.loads += 1
        else:
            self.assignment.give_back(reservation, "its server was not ready", now_s)

    def claimed(self, slot: int, token: int, now_s: float) -> Effects:
        reservation = self._claiming(slot, token)
        if reservation is None or (lease := reservation.lease) is None:
            return []
        status, waiting = self.assignment.slots[slot], reservation.waiting
        if status.lease_id != lease.lease_id:
            self._break(reservation, status.reason, now_s)
            return []
        is_late = now_s > lease.granted_at_s + CLAIM_MAX_S
        if reservation.withdrawn or is_late or waiting.map not in (None, status.map):
            self._break(reservation, None, now_s)
            return self._fence.scrub(slot, lease.lease_id, "withdrawn, or too late, or another map by now")
        self.assignment.reservations.drop(reservation)
        return self._grant(lease, waiting, status, now_s)

    def not_claimed(self, slot: int, token: int, now_s: float, fault: str | None) -> Effects:
        reservation = self._claiming(slot, token)
        if reservation is None:
            return []
        self._break(reservation, "its server was not ready", now_s)
        waiting = reservation.waiting
        if fault is None or reservation.withdrawn:
            return []
        if waiting.replaces is not None:  # it is owed, whatever the disk is like now
            waiting.paused_until_s, waiting.setback = now_s + FAULT_PAUSE_S, fault
            return []
        return self.forget(waiting, refusals.journal_fails(fault))

    def _reserve(self, waiting: Waiting, status: SlotStatus, now_s: float) -> Effects:
        self.assignment.queue.remove(waiting)
        reservation = Reservation(status.slot, status.incarnation, waiting, now_s)
        self.assignment.reservations.add(reservation)
        if waiting.map is None or waiting.map == status.map:
            return self._claim(reservation, now_s)
        return [Load(status.slot, waiting.map)]

    def _claim(self, reservation: Reservation, now_s: float) -> Effects:
        self.token += 1
        reservation.lease = self._new_lease(reservation, now_s)
        reservation.phase = Phase.CLAIMING
        self._book.promise(reservation.lease)
        lease = reservation.lease
        expected = (self.assignment.slots[lease.slot].incarnation, lease.map)
        furnished_as = lease.replaces if lease.acquire.furnish else None
        return [Claim(lease.slot, lease.lease_id, lease.token, expected, furnished_as)]

    def _new_lease(self, reservation: Reservation, now_s: float) -> Lease:
        waiting, lost, max_s = reservation.waiting, reservation.waiting.replaces, self.terms.lease_max_s
        ends_at_s = None if max_s is None else now_s + max_s
        lease = Lease(
            token=self.token,
            slot=reservation.slot,
            request_id=lost.request_id if lost else waiting.request_id or "",
            acquire=waiting.acquire,
            map=self.assignment.slots[reservation.slot].map,
            ttl_s=waiting.ttl_s,
            begun_at_s=lost.begun_at_s if lost else now_s,
            granted_at_s=now_s,
            expires_at_s=now_s,
            ends_at_s=lost.ends_at_s if lost else ends_at_s,
            replaces=lost.lease_id if lost else None,
        )
        return lease.renewed(waiting.ttl_s, now_s + CLAIM_MAX_S)

    def _claiming(self, slot: int, token: int) -> Reservation | None:
        reservation = self.assignment.reservations.of_slot(slot, Phase.CLAIMING)
        if reservation is None or reservation.lease is None or reservation.lease.token != token:
            return None
        return reservation

    def _break(self, reservation: Reservation, setback: str | None, now_s: float) -> None:
        assert reservation.lease is not None
        self._book.break_promise(reservation.lease)
        self.assignment.give_back(reservation, setback, now_s)

    def _load_failed(self, reservation: Reservation, setback: str | None, now_s: float) -> Effects:
        waiting = reservation.waiting
        self.assignment.give_back(reservation, setback, now_s)
        if reservation.withdrawn or waiting.loads < LOADS_MAX:
            return []
        return self.forget(waiting, refusals.map_does_not_load(waiting.map or "", waiting.loads, setback))

    def _grant(self, lease: Lease, waiting: Waiting, status: SlotStatus, now_s: float) -> Effects:
        lease = lease.renewed(lease.ttl_s, now_s)
        self._book.enter(lease)
        effects: Effects = [Tell("lease.granted", lease.slot, lease.lease_id, lease=lease)]
        if (lost := waiting.replaces) is not None:
            self._book.replace(lost.lease_id, lease.lease_id)
            effects.append(Tell("lease.replaced", lost.slot, lost.lease_id, f"by {lease.lease_id}"))
        if waiting.request_id is not None:
            effects += self._answers.give(waiting.request_id, lease.granted(status, now_s))
        return effects
