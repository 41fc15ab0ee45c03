"""What a slot may be, and what may follow."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    """As in `messages.SlotState`. Draining is no state: a flag of the slot, see `SlotStatus.draining`."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"  # also while a map is loaded
    READY = "READY"
    LEASED = "LEASED"
    SCRUBBING = "SCRUBBING"  # made as it was when it became READY: nobody's until then
    STOPPING = "STOPPING"  # until the last process of the tree has gone
    BACKOFF = "BACKOFF"
    QUARANTINED = "QUARANTINED"


class Event(Enum):
    START = "start"
    READY = "ready"  # it was checked: version, map, world, ports
    LOAD = "load"
    LEASE = "lease"
    SCRUB = "scrub"  # its holder gave it back, or a stranger was there
    END = "end"  # wanted or not
    BACK_OFF = "back off"
    QUARANTINE = "quarantine"
    HALT = "halt"  # nothing runs, and nothing will be started until somebody wants it


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.STOPPED, Event.START): State.STARTING,
    (State.STOPPED, Event.QUARANTINE): State.QUARANTINED,
    (State.STARTING, Event.READY): State.READY,
    (State.STARTING, Event.END): State.STOPPING,
    (State.READY, Event.LOAD): State.STARTING,
    (State.READY, Event.LEASE): State.LEASED,
    (State.READY, Event.SCRUB): State.SCRUBBING,
    (State.READY, Event.END): State.STOPPING,
    (State.LEASED, Event.SCRUB): State.SCRUBBING,
    (State.LEASED, Event.END): State.STOPPING,
    (State.SCRUBBING, Event.READY): State.READY,
    (State.SCRUBBING, Event.END): State.STOPPING,
    (State.STOPPING, Event.START): State.STARTING,
    (State.STOPPING, Event.BACK_OFF): State.BACKOFF,
    (State.STOPPING, Event.QUARANTINE): State.QUARANTINED,
    (State.STOPPING, Event.HALT): State.STOPPED,
    (State.BACKOFF, Event.START): State.STARTING,
    (State.BACKOFF, Event.QUARANTINE): State.QUARANTINED,
    (State.BACKOFF, Event.HALT): State.STOPPED,
    (State.QUARANTINED, Event.START): State.STARTING,
    (State.QUARANTINED, Event.HALT): State.STOPPED,
}


class Lifecycle:
    """One slot's state. `advance` is its only writer."""

    def __init__(self) -> None:
        self._state = State.STOPPED

    @property
    def state(self) -> State:
        return self._state

    def advance(self, event: Event) -> State:
        """The following state. A pair that is not in the table is a programmer's error."""
        following = TRANSITIONS.get((self._state, event))
        assert following is not None, f"a slot that is {self._state.value} cannot {event.value}"
        self._state = following
        return following
