"""What a session may be, and what may follow."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    """As in `messages.SessionState`."""

    PREPARING = "PREPARING"  # its env host starts and constructs the environment
    WAITING = "WAITING"  # for a server
    ATTACHING = "ATTACHING"  # the environment connects to the server
    SERVING = "SERVING"  # its client steps
    CLOSED = "CLOSED"


class Event(Enum):
    PREPARED = "prepare"
    LEASED = "take a server"
    ATTACHED = "attach"
    ADOPTED = "take back"  # from an earlier daemon, while its client steps
    LOST = "lose"  # its host or its server: another round
    CLOSED = "close"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PREPARING, Event.PREPARED): State.WAITING,
    (State.WAITING, Event.LEASED): State.ATTACHING,
    (State.ATTACHING, Event.ATTACHED): State.SERVING,
    (State.PREPARING, Event.ADOPTED): State.SERVING,
    (State.PREPARING, Event.LOST): State.PREPARING,
    (State.WAITING, Event.LOST): State.PREPARING,
    (State.ATTACHING, Event.LOST): State.PREPARING,
    (State.SERVING, Event.LOST): State.PREPARING,
    (State.PREPARING, Event.CLOSED): State.CLOSED,
    (State.WAITING, Event.CLOSED): State.CLOSED,
    (State.ATTACHING, Event.CLOSED): State.CLOSED,
    (State.SERVING, Event.CLOSED): State.CLOSED,
}


class Lifecycle:
    """One session's state. `advance` is its only writer."""

    def __init__(self) -> None:
        self._state = State.PREPARING

    @property
    def state(self) -> State:
        return self._state

    def advance(self, event: Event) -> State:
        """The following state. A pair that is not in the table is a programmer's error."""
        following = TRANSITIONS.get((self._state, event))
        assert following is not None, f"a session that is {self._state.value} cannot {event.value}"
        self._state = following
        return following
