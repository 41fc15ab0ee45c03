"""Vectors of sessions whose environments need no server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from carlad.errors import WaitedInVainError
from carlad.session.environment import Server
from tests.session.leaks import wait_until
from trainer.opening import SessionConfig
from trainer.servers import Addresses, Held, Servers
from trainer.vector import Event, Phase, SessionVector

ACTION = np.array([0.5, -0.5], np.float32)
NOWHERE = Addresses(["127.0.0.1:1"] * 4)


@contextmanager
def sessions(
    count: int,
    logs: Path,
    name: str = "Quiet",
    servers: Servers = NOWHERE,
    reply_within_s: float = 30.0,
    **config: object,
) -> Iterator[SessionVector]:
    """A vector of sessions that host a class of tests.session.environments."""
    session = SessionConfig(f"tests.session.environments:{name}", config, reply_within_s, logs)
    vector = SessionVector(count, servers, session)
    try:
        yield vector
    finally:
        vector.close()


def gather(vector: SessionVector, until: Callable[[Sequence[Event]], bool]) -> list[Event]:
    """Events until the condition holds for all so far."""
    found: list[Event] = []

    def enough() -> bool:
        found.extend(vector.events(0.05))
        return until(found)

    wait_until(enough, within_s=30.0)
    return found


def wait_for(vector: SessionVector, *phases: Phase) -> None:
    """Until the members are in these phases; AssertionError if an event comes on the way."""
    gather(vector, lambda events: not events and vector.phases() == list(phases))


class Lendable:
    """One server that is held by one at a time, and can be taken away from its holder."""

    def __init__(self) -> None:
        self.taken = threading.Event()
        self._free = threading.Semaphore()
        self.releases = 0

    def acquire(self, index: int) -> Held:
        if not self._free.acquire(timeout=0.2):
            raise WaitedInVainError("no server came free within 0.2 s", "waited-in-vain")
        self.taken.clear()
        return _Lent(self)

    def give_back(self) -> None:
        self.releases += 1
        self._free.release()


class _Lent:
    server = Server("127.0.0.1", 1, 8000)

    def __init__(self, lender: Lendable) -> None:
        self._lender = lender

    def lost(self) -> str | None:
        return "it crashed" if self._lender.taken.is_set() else None

    def release(self) -> None:
        self._lender.give_back()
