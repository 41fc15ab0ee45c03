"""Who waits, what is free, and who is served next. Knows nothing of leases that live but who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain

from carlad.broker.queue import Queue, Waiting
from carlad.broker.reservations import Phase, Reservation, Reservations
from carlad.broker.terms import Terms
from carlad.messages import Queued, SlotStatus


class Assignment:
    """`slots` and `maps` (of each slot, that its servers said they have) are as the fleet said last."""

    def __init__(self) -> None:
        self.slots: dict[int, SlotStatus] = {}
        self.maps: Mapping[int, frozenset[str]] = {}
        self.queue = Queue()
        self.reservations = Reservations()

    def __len__(self) -> int:
        """Requests without an answer."""
        return len(self.queue) + len(self.reservations)

    def waiting(self) -> list[Waiting]:
        """Also those for whom a slot is reserved."""
        return [*self.queue, *(r.waiting for r in self.reservations if not r.withdrawn)]

    def of_request(self, request_id: str) -> Waiting | None:
        return next((w for w in self.waiting() if w.request_id == request_id), None)

    def successor_of(self, lease_id: str) -> Waiting | None:
        """Who waits for the successor of a lost lease."""
        waiting = (w for w in self.waiting() if w.replaces is not None and w.replaces.lease_id == lease_id)
        return next(waiting, None)

    def standing(self, waiting: Waiting, expected_wait_s: float | None) -> Queued:
        """`expected_wait_s`: for the first in the queue."""
        position, reservation = self.queue.position(waiting), self.reservations.of(waiting)
        loads = reservation is not None and reservation.phase is not Phase.CLAIMING
        return Queued(
            position=position,
            waiting=len(self),
            loading=waiting.map if loads else None,
            expected_wait_s=expected_wait_s * position if position and expected_wait_s is not None else None,
        )

    def next(self, terms: Terms, holders: Iterable[str]) -> tuple[Waiting, SlotStatus] | None:
        """Who is to get which free server now. `holders`: the user of each lease that lives.

        Nobody waits for what another one waits for: who cannot be served for a reason of their own, their
        quota, or a map that no free server has, is passed over. Spares are for lost leases only.
        """
        free = [s for s in self.slots.values() if s.state == "READY" and s.slot not in self.reservations]
        owed = (waiting.user for waiting in self.queue if waiting.replaces is not None)
        taken = Counter(chain(holders, owed, (r.waiting.user for r in self.reservations)))
        for waiting in self.queue:
            if waiting.paused_until_s is not None:
                continue
            if not free or (waiting.replaces is None and len(free) <= terms.spares):
                return None
            quota = terms.quota.of(waiting.user)
            waiting.is_at_quota = (
                waiting.replaces is None and quota is not None and taken[waiting.user] >= quota
            )
            if waiting.is_at_quota:
                continue
            status = self._best(free, waiting.map)
            if status is not None:
                return waiting, status
        return None

    def end_pauses(self, now_s: float) -> None:
        """Of those whose time has come."""
        for waiting in self.queue:
            if waiting.paused_until_s is not None and waiting.paused_until_s <= now_s:
                waiting.paused_until_s = None

    def withdraw(self, waiting: Waiting) -> None:
        """The request is wanted no more; a claim under way is undone when it is reported."""
        self.queue.remove(waiting)
        if (reservation := self.reservations.of(waiting)) is not None:
            reservation.withdrawn = True
            if reservation.phase is not Phase.CLAIMING:  # nothing is under way that could lease it
                self.reservations.drop(reservation)

    def give_back(self, reservation: Reservation, setback: str | None, now_s: float) -> None:
        """The attempt failed: the request takes its old place, its time in the queue goes on."""
        self.reservations.drop(reservation)
        waiting = reservation.waiting
        if reservation.withdrawn:
            return
        waiting.setback = setback
        if waiting.deadline_s is not None:
            waiting.deadline_s += now_s - reservation.since_s
        self.queue.add(waiting)

    def known_maps(self) -> frozenset[str]:
        """Empty until a first server was READY."""
        return frozenset().union(*self.maps.values())

    def _best(self, free: list[SlotStatus], wanted_map: str | None) -> SlotStatus | None:
        """One that has the map loaded if there is, else one that can load it."""
        if wanted_map is None:
            return free[0]
        loaded = (s for s in free if s.map == wanted_map)
        able = (s for s in free if wanted_map in self.maps.get(s.slot, ()))
        return next(loaded, None) or next(able, None)
