"""What a slot is just now, told to all who are to know it: whoever looks, the journal, listeners, the log."""

from __future__ import annotations

from typing import Protocol

import msgspec

from carlad.fleet import logs
from carlad.fleet.autopsy import Cause
from carlad.fleet.baseline import Baseline
from carlad.fleet.ledger import Ledger
from carlad.fleet.lifecycle import Event, Lifecycle, State
from carlad.fleet.plan import Plan
from carlad.fleet.ports import Ports
from carlad.fleet.records import SLOT, SlotRecord, ring
from carlad.fleet.standing import Standing, Wish
from carlad.fleet.tenancy import Tenancies
from carlad.fleet.wear import Wear
from carlad.journal import JournalError, Put
from carlad.log import get_logger
from carlad.messages import SlotStatus
from carlad.runtime import Changes

log = get_logger(__name__)

_WITH_SERVER = (State.STARTING, State.READY, State.LEASED, State.SCRUBBING)
_LEVELS = {
    "slot.lost": log.warning,
    "slot.revived": log.warning,
    "slot.limit_too_tight": log.warning,
    "slot.quarantined": log.error,
}


class Notify(Protocol):
    """Tells whoever listens that something happened. Never blocks."""

    def __call__(
        self,
        event: str,
        slot: int | None = None,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: str | None = None,
    ) -> None: ...


class Situation:
    """All that the journal has of a slot, and its plan. `enter` is the only writer of its state."""

    def __init__(self, number: int, plan: Plan, notify: Notify, changes: Changes, ledger: Ledger) -> None:
        self.number = number
        self.plan = plan
        self.log_path = logs.log_path(plan.log_dir, number)  # its servers'
        self.standing = Standing(plan.restart, seed=number)
        self.ports: Ports | None = None  # of this incarnation, or of the one before
        self.baseline: Baseline | None = None  # of its server
        self.made_from = ""  # its server
        self.maps: frozenset[str] = frozenset()  # that its servers said they have
        self.wear = Wear()  # of its server
        self.tenancies = Tenancies()
        self._notify = notify
        self._changes = changes
        self._ledger = ledger
        self._lifecycle = Lifecycle()
        self._status = _stopped(number, plan.host)

    @property
    def status(self) -> SlotStatus:
        return self._status

    @property
    def state(self) -> State:
        return self._lifecycle.state

    @property
    def has_server(self) -> bool:
        """Or is about to have one, and neither is being ended."""
        return self.state in _WITH_SERVER

    def enter(self, event: Event, **changes: object) -> None:
        """The state that follows, and `changes` of the status with it."""
        self.change(state=self._lifecycle.advance(event).value, **changes)

    def change(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        self._changes.mark()
        self._ledger.note(self._entry(self._status))

    def tell(
        self,
        event: str,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        level = _LEVELS.get(event, log.info)
        now = self._status
        level(
            event,
            slot=now.slot,
            incarnation=now.incarnation,
            rpc_port=now.rpc_port,
            lease_id=lease_id,
            reason=reason,
        )
        named = cause and cause.value
        self._notify(event, slot=self.number, lease_id=lease_id, reason=reason, cause=named)

    def follow_wish(self) -> None:
        """What is wanted of the slot may be another thing than before."""
        if self.standing.wish is not Wish.UP:
            self.plan.outbreak.forget(self.number)
        if self._status.draining != self.standing.is_draining:
            self.change(draining=self.standing.is_draining)
            self.tell("slot.draining" if self._status.draining else "slot.undrained")

    # --- on disk before it is so

    async def keep_ports(self, ports: Ports) -> None:
        """A server is about to be started there. Raises JournalError."""
        await self._ledger.keep(self._entry(self._status), ring(ports.rpc))

    async def keep_as_leased(self, lease_id: str) -> bool:
        """False, and logged, where the journal does not take it. Where it is not leased after all, say
        `keep_as_it_is`: a note of READY in between would be the last word of a daemon that is killed then."""
        leased = msgspec.structs.replace(self._status, state=State.LEASED.value, lease_id=lease_id)
        try:
            await self._ledger.keep(self._entry(leased))
        except JournalError as error:
            log.warning("slot.not_leased", slot=self.number, reason=error)
            self.keep_as_it_is()
            return False
        return True

    def keep_as_it_is(self) -> None:
        self._ledger.note(self._entry(self._status))

    # --- from one daemon to the next

    def go_on(self, record: SlotRecord | None, incarnation: int) -> None:
        """As the slot that `record` speaks of, without a server; the last incarnation had that number."""
        if record is not None:
            self.ports, self.baseline, self.maps = record.ports, record.baseline, record.maps
            self.made_from = record.made_from
            self.tenancies = Tenancies(record.seen)
            self.standing.go_on(record.wish, record.why)
            self.change(restarts=record.status.restarts, draining=self.standing.is_draining)
        self.change(incarnation=incarnation)

    def farewell(self) -> Put:
        """What the next daemon is to know after an orderly end: everything begins anew, on other ports."""
        stopped = _stopped(self.number, self.plan.host)
        stopped = msgspec.structs.replace(stopped, incarnation=self._status.incarnation)
        return Put(SLOT, str(self.number), SlotRecord(stopped, self.ports))

    def _entry(self, status: SlotStatus) -> Put:
        record = SlotRecord(
            status=status,
            ports=self.ports,
            baseline=self.baseline,
            maps=self.maps,
            wish=self.standing.wish,
            why=self.standing.why,
            made_from=self.made_from,
            past=self.wear.past,
            seen=self.tenancies.seen(),
        )
        return Put(SLOT, str(self.number), record)


def _stopped(number: int, host: str) -> SlotStatus:
    """Of a slot that has never run."""
    return SlotStatus(
        slot=number,
        state=State.STOPPED.value,
        incarnation=0,
        pid=None,
        host=host,
        rpc_port=None,
        streaming_port=None,
        traffic_manager_port=None,
        map=None,
        lease_id=None,
        restarts=0,
        reason=None,
    )
