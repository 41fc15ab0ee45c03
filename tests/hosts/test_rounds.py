"""When a session goes another round after a loss. In virtual time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from carlad.broker.holder import Peer
from carlad.config import EnvSection, SessionSection
from carlad.hosts.host import Place, Premises
from carlad.hosts.lifecycle import Event
from carlad.hosts.session import Session
from carlad.hosts.tenure import Order
from carlad.messages import Holder, OpenSession, SessionOpened

_LOSSES = 6
_ORDER = Order(
    session_id="session-0",
    asked=OpenSession(holder=Holder(user="ann", host="here", program="learner"), env="quiet"),
    env=EnvSection(env="tests.session.environments:Quiet"),
    peer=Peer(),
    uid=0,
    ttl_s=30.0,
)


def _session() -> Session:
    """One that has served before, of which only the rounds' beginnings are looked at."""
    unused = cast(Any, None)
    place = Place("session-0", Path("log"), 0, math.inf, False)
    premises = Premises(Path(), Path(), Path(), {})
    session = Session(_ORDER, place, premises, SessionSection(), unused, lambda *_, **__: None, unused)
    session._opened = SessionOpened(
        session_id="session-0",
        key="",
        host=1,
        steps="",
        secret="",
        telemetry="",
        observation_space=unused,
        action_space=unused,
        server="127.0.0.1:2000",
        map="Town01",
        ttl_s=30.0,
    )
    return session


async def _waits_s(session: Session, served_s: float) -> list[float]:
    """Before each round that follows a loss."""
    waits_s = []
    for _ in range(_LOSSES):
        session._served_at = trio.current_time()
        session._enter(Event.ADOPTED)
        await trio.sleep(served_s)
        session._round = trio.CancelScope()
        session._lose("its server was lost")
        lost_s = trio.current_time()
        await session._pause()
        waits_s.append(trio.current_time() - lost_s)
    return waits_s


@pytest.mark.parametrize(("served_s", "longest_s"), [(12.0, 0.0), (0.5, 1.3), (0.0, 1.8)])
def test_who_served_for_longer_than_the_back_off_goes_on_at_once(served_s: float, longest_s: float) -> None:
    """Back-off is for environments that wear servers out, one after the other."""

    async def scenario() -> None:
        waits_s = await _waits_s(_session(), served_s)
        assert waits_s == sorted(waits_s)
        assert longest_s / 2 <= waits_s[-1] <= longest_s

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
