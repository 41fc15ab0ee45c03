"""Members that host a class of tests.session.environments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from carlad.errors import WaitedInVainError
from carlad.session.environment import Server
from carlad.session.members import Event, Members, Phase
from carlad.session.sources import ChildSource, Hosted, Source
from tests.session.leaks import wait_until

ACTION = np.array([0.5, -0.5], np.float32)
NOWHERE = Server("127.0.0.1", 1, 8000)


@contextmanager
def sessions(
    count: int,
    logs: Path,
    name: str = "Quiet",
    reply_within_s: float = 30.0,
    servers: threading.Semaphore | None = None,
    **config: object,
) -> Iterator[Members]:
    """`servers`: how many there are; None: enough."""
    sources: list[Source] = [
        Lent(
            ChildSource(
                f"tests.session.environments:{name}", config, NOWHERE, f"env-{i}", logs / f"env-{i}.log"
            ),
            servers or threading.Semaphore(),
        )
        for i in range(count)
    ]
    vector = Members(sources, reply_within_s)
    try:
        yield vector
    finally:
        vector.close()


class Lent:
    """Env hosts on servers of which there may be too few; one that is held is kept when its host is lost."""

    def __init__(self, source: ChildSource, servers: threading.Semaphore) -> None:
        self._source, self._servers = source, servers
        self._holds = False
        self.cancel, self.leave, self.close = source.cancel, source.leave, source.close

    def obtain(self, cause: str | None) -> Hosted:
        if not self._holds and not self._servers.acquire(timeout=0.2):
            raise WaitedInVainError("no server came free within 0.2 s", "waited-in-vain")
        self._holds = True
        return self._source.obtain(cause)


def gather(vector: Members, until: Callable[[Sequence[Event]], bool]) -> list[Event]:
    """Events until the condition holds for all so far."""
    found: list[Event] = []

    def enough() -> bool:
        found.extend(vector.events(0.05))
        return until(found)

    wait_until(enough, within_s=30.0)
    return found


def wait_for(vector: Members, *phases: Phase) -> None:
    """Until the members are in these phases; AssertionError if an event comes on the way."""
    gather(vector, lambda events: not events and vector.phases() == list(phases))
