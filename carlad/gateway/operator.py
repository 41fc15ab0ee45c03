"""What operators ask of the daemon and its slots, other than to look at them."""

from __future__ import annotations

from typing import Protocol

from carlad.broker.recent import Recent
from carlad.errors import ConfigError
from carlad.journal import JournalError
from carlad.messages import (
    Done,
    Drain,
    OperatorRequest,
    Quarantine,
    Refused,
    Reload,
    Reloaded,
    ReplyBody,
    Restart,
    Scale,
    Shutdown,
    SlotStatus,
    Undrain,
    Upgrade,
)

_ANSWERS_KEPT = 256  # for requests that are sent again, which clients do within seconds


class Slots(Protocol):
    """The fleet, as far as operators change it. Each takes a slot that is there."""

    def statuses(self) -> tuple[SlotStatus, ...]: ...
    def drain(self, slot: int) -> None: ...
    def undrain(self, slot: int) -> None: ...
    def restart(self, slot: int) -> None: ...
    def quarantine(self, slot: int, why: str) -> None: ...
    async def keep(self) -> None: ...


class Controls(Protocol):
    """The daemon itself. Nothing of it waits for servers or holders."""

    def shut_down(self, *, now: bool) -> None: ...
    async def scale(self, size: int) -> None: ...
    async def reload(self) -> Reloaded: ...
    async def upgrade(self) -> None: ...


class Operator:
    """Answers each request once: one that is sent again gets the same answer, and nothing is done."""

    def __init__(self, slots: Slots, controls: Controls) -> None:
        self._slots = slots
        self._controls = controls
        self._answers: Recent[ReplyBody] = Recent(_ANSWERS_KEPT)

    async def answer(self, request_id: str, request: OperatorRequest) -> ReplyBody:
        answer = self._answers.get(request_id)
        if answer is None:
            answer = await self._perform(request)
            self._answers.put(request_id, answer)
        return answer

    async def _perform(self, request: OperatorRequest) -> ReplyBody:
        try:
            match request:
                case Scale(size):
                    surplus = len(self._slots.statuses()) - size
                    await self._controls.scale(size)
                    says = f"the fleet has {_slots(size)} until the next reload"
                    return Done(says=says + ("; the surplus drains" if surplus > 0 else ""))
                case Reload():
                    return await self._controls.reload()
                case Shutdown(now):
                    self._controls.shut_down(now=now)
                    return Done(says="carlad ends " + ("now" if now else "as soon as its leases do"))
                case Upgrade():
                    await self._controls.upgrade()
                    return Done(says="carlad makes way for a newly started one; servers and leases go on")
                case Drain(slot) | Undrain(slot) | Restart(slot) | Quarantine(slot, _):
                    return refusal_of(slot, self._slots.statuses()) or await self._perform_on_slot(request)
        except JournalError as error:
            return Refused(code="unavailable", reason=f"it is done, but not for a later daemon: {error}")
        except ConfigError as error:
            return Refused(code="bad-size" if isinstance(request, Scale) else "bad-config", reason=str(error))

    async def _perform_on_slot(self, request: Drain | Undrain | Restart | Quarantine) -> Done:
        slot = request.slot
        before = next(status for status in self._slots.statuses() if status.slot == slot)
        match request:
            case Drain():
                self._slots.drain(slot)
            case Undrain():
                self._slots.undrain(slot)
            case Restart():
                self._slots.restart(slot)
            case Quarantine():
                self._slots.quarantine(slot, request.why)
        await self._slots.keep()
        return Done(says=_told(request, before))


def refusal_of(slot: int, statuses: tuple[SlotStatus, ...]) -> Refused | None:
    """Why nothing can be done with a slot that is not there."""
    numbers = [status.slot for status in statuses]
    if slot in numbers:
        return None
    known = f"slots are {min(numbers)} to {max(numbers)}" if numbers else "the fleet is empty"
    return Refused(code="no-such-slot", reason=f"there is no slot {slot}: {known}")


def _told(request: Drain | Undrain | Restart | Quarantine, before: SlotStatus) -> str:
    """`before`: what was so when it was asked."""
    slot, lease_id = f"slot {before.slot}", before.lease_id
    match request:
        case Drain():
            return f"{slot} drains" + (f": {lease_id} still holds it" if lease_id else "")
        case Undrain():
            return f"{slot} is back" if before.draining else f"{slot} was not draining"
        case Restart():
            return f"{slot} gets another server" + (f" when {lease_id} has ended" if lease_id else "")
        case Quarantine():
            return f"{slot} is quarantined" + (f"; {lease_id} has lost it" if lease_id else "")


def _slots(count: int) -> str:
    return f"{count} slot" if count == 1 else f"{count} slots"
