"""A permanent place for a server: what it is asked for, what the operator wants of it, what it goes on with.

Two tasks touch a slot's state: the mailbox's, for what other units ask, and `run`'s, for what happens to the
server. Neither awaits between looking and changing. What they share is the slot's `Situation`, the only
place where the state changes. `run` alternates between an `Incarnation` and a `Rest`; an incarnation's
`Course` is how it goes, its `Upkeep` what is done at its server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from carlad.fleet import logs
from carlad.fleet.backends.interface import Found
from carlad.fleet.course import Course
from carlad.fleet.gpu.devices import Device
from carlad.fleet.incarnation import Incarnation
from carlad.fleet.ledger import Ledger
from carlad.fleet.lifecycle import Event, State
from carlad.fleet.plan import Plan
from carlad.fleet.records import SlotRecord
from carlad.fleet.requests import End, Lease, Load, Release, SlotRequest
from carlad.fleet.rest import Rest
from carlad.fleet.situation import Notify, Situation
from carlad.fleet.standing import Wish
from carlad.fleet.tenancy import Tenancy
from carlad.fleet.upkeep import Upkeep
from carlad.fleet.wear import Wear
from carlad.journal import Put
from carlad.messages import SlotStatus, SlotVitals
from carlad.runtime import Changes, Mailbox
from carlad.wire.types import EpisodeSettings

_MAILBOX_CAPACITY = 64


class Slot:
    def __init__(self, number: int, plan: Plan, notify: Notify, changes: Changes, ledger: Ledger) -> None:
        self.mailbox = Mailbox[SlotRequest, bool](_MAILBOX_CAPACITY)
        self._situation = Situation(number, plan, notify, changes, ledger)
        self._standing = self._situation.standing
        self._rest = Rest(self._situation, plan.outbreak)
        self._incarnation = Incarnation(self._situation, 0.0)  # none yet
        self._is_taken_back = False  # its incarnation, which has no task yet

    @property
    def status(self) -> SlotStatus:
        return self._situation.status

    @property
    def log_path(self) -> Path:
        return self._situation.log_path

    @property
    def maps(self) -> frozenset[str]:
        """That its servers said they have."""
        return self._situation.maps

    def tenancy(self, lease_id: str) -> Tenancy | None:
        """What its holder does or did with the server, as far as that is remembered."""
        return self._situation.tenancies.of(lease_id)

    async def furnish(self, settings: EpisodeSettings) -> None:
        """For the holder of a lease that replaces another."""
        if self._incarnation.upkeep is not None:
            await self._incarnation.upkeep.furnish(settings)

    def vitals(self) -> SlotVitals | None:
        """Of its server; None where none runs."""
        if not self._situation.has_server:
            return None
        return self._course.condition.vitals(trio.current_time(), logs.size(self.log_path))

    def draws(self, cards: Sequence[Device]) -> None:
        """What `cards` are as they were just looked at."""
        if self._situation.has_server:
            pids = frozenset(self._incarnation.tree())
            self._course.condition.draws(sum(card.used_by(pids) for card in cards))

    async def run(self) -> None:
        """Incarnation after incarnation, until it is to be gone or cancelled; the server is ended first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.mailbox.serve, self._handle)
            try:
                if self._is_taken_back:
                    self._is_taken_back = False
                    await self._incarnation.run()
                while await self._is_due():
                    self._begin()
                    await self._incarnation.run()
            finally:
                self._rest.halt()
            nursery.cancel_scope.cancel()

    async def _is_due(self) -> bool:
        last = self._course
        may_be_shared = self._situation.plan.backend.shares_fate and not last.was_ready
        return await self._rest.until_due(failed=last.failed, may_be_shared=may_be_shared)

    def _begin(self) -> None:
        situation = self._situation
        self._standing.is_outdated = False
        situation.made_from, situation.baseline = situation.plan.made_from(situation.number), None
        situation.wear = Wear()
        situation.enter(Event.START, incarnation=situation.status.incarnation + 1)
        self._incarnation = Incarnation(situation, trio.current_time())
        situation.tell("slot.starting")

    @property
    def _course(self) -> Course:
        """Of this incarnation, or of the one before."""
        return self._incarnation.course

    @property
    def _upkeep(self) -> Upkeep:
        """Of a server that is READY or LEASED."""
        assert self._incarnation.upkeep is not None
        return self._incarnation.upkeep

    # --- what an earlier daemon left; before `run`

    def go_on(self, record: SlotRecord | None, incarnation: int) -> None:
        """As the slot that `record` speaks of, without a server; the last incarnation had that number."""
        self._situation.go_on(record, incarnation)

    def take_back(self, record: SlotRecord, found: Found) -> None:
        """Its server runs. Who held it holds it; where nobody did, it is checked and scrubbed once more."""
        situation, was = self._situation, record.status
        situation.wear = Wear(record.past)
        situation.enter(Event.START)
        if was.lease_id is not None:
            situation.enter(Event.READY)
            situation.enter(Event.LEASE)
        now = {"state": situation.status.state, "draining": situation.status.draining}
        situation.change(**msgspec.structs.asdict(was) | now)
        self._incarnation = Incarnation(
            situation, trio.current_time(), found=found, was_ready=_was_ready(record)
        )
        self._is_taken_back = True
        if record.made_from != situation.plan.made_from(situation.number):
            self._standing.outdate("its configuration has changed")
        situation.tell("slot.adopted", lease_id=was.lease_id)

    def mourn(self, record: SlotRecord, why: str) -> None:
        """Its server was in a run, and ended while nobody looked."""
        self._course.was_ready = _was_ready(record)
        self._situation.enter(Event.START)
        self._situation.change(lease_id=record.status.lease_id)
        self._course.end(why, failed=True)

    def farewell(self) -> Put:
        """For the journal, after an orderly end."""
        return self._situation.farewell()

    # --- what the operator wants

    def drain(self) -> None:
        """No lease from now on; the server ends as soon as nobody holds it, and none is started."""
        self._standing.wants_down("it is drained")
        self._follow_wish()

    def undrain(self) -> None:
        """Nothing happens where it is not draining."""
        if self._standing.is_draining:
            self._standing.wants_up()
            self._follow_wish()

    def leave(self) -> None:
        """As `drain`, and then `run` returns."""
        self._standing.wants_gone("the fleet shrinks")
        self._follow_wish()

    @property
    def is_leaving(self) -> bool:
        return self._standing.wish is Wish.GONE

    def restart(self) -> None:
        """Another incarnation as soon as nobody holds this one; at once where none runs, whatever the
        reason was. Earlier failures are forgotten."""
        self._standing.wants_up()
        self._situation.plan.outbreak.forget(self._situation.number)
        self._course.replace_when_free("it is restarted by hand")
        self._follow_wish()

    def quarantine(self, why: str) -> None:
        """Ends the server at once, whoever holds it; none is started before `restart`."""
        self._course.quarantine(why)
        self._rest.look_again()

    def use(self, plan: Plan) -> None:
        """From now on; where another server comes of it, as soon as nobody holds this one."""
        before, self._situation.plan = self._situation.plan, plan
        if plan.probe != before.probe and self._incarnation.upkeep is not None:
            self._incarnation.upkeep.watch_anew()
        self._standing.use(plan.restart)
        if plan.made_from(self._situation.number) != self._situation.made_from:
            self._course.replace_when_free("its configuration has changed")
            self._follow_wish()  # so made it may start at once, whatever it rests from

    def _follow_wish(self) -> None:
        self._situation.follow_wish()
        self._course.end_if_unwanted()
        self._rest.look_again()

    # --- what others ask

    async def _handle(self, request: SlotRequest) -> bool:
        if isinstance(request, Lease):
            return await self._lease(request.lease_id, request.expected)
        if isinstance(request, Load):
            return self._load(request.map)
        if isinstance(request, Release):
            return self._release(request.lease_id, request.reason)
        if isinstance(request, End):
            return self._end_lease(request.lease_id, request.reason)
        return True

    async def _lease(self, lease_id: str, expected: tuple[int, str | None] | None) -> bool:
        """Journal first: a daemon that is killed in between must not take a held server for a free one."""
        situation = self._situation
        if situation.state is State.READY:
            await self._upkeep.wake()
        if situation.state is not State.READY or not await situation.keep_as_leased(lease_id):
            return False
        try:
            if situation.state is State.READY:  # still
                await self._upkeep.turn_strangers_away()
            if situation.state is not State.READY:
                return False
            if expected not in (None, (situation.status.incarnation, situation.status.map)):
                return False
            self._upkeep.begin_tenancy(lease_id)
            self._course.lease(lease_id)
            return True
        finally:
            if situation.status.lease_id != lease_id:
                situation.keep_as_it_is()

    def _load(self, wanted_map: str) -> bool:
        if self._situation.state is not State.READY:
            return False
        self._course.load(wanted_map)
        self._upkeep.load(wanted_map)
        return True

    def _release(self, lease_id: str, reason: str) -> bool:
        if not self._is_held_by(lease_id):
            return False
        self._course.outdate_if_worn()
        if not self._standing.may_be_leased:
            self._course.end(self._standing.why, failed=False)
            return True
        self._course.scrub(reason, lease_id)
        self._upkeep.scrub()
        return True

    def _end_lease(self, lease_id: str, reason: str) -> bool:
        if not self._is_held_by(lease_id):
            return False
        self._course.end(reason, failed=False)
        return True

    def _is_held_by(self, lease_id: str) -> bool:
        return self._situation.state is State.LEASED and self._situation.status.lease_id == lease_id


def _was_ready(record: SlotRecord) -> bool:
    return State(record.status.state) is not State.STARTING
