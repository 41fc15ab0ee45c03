"""Whoever follows what happens: by a snapshot and the notices after its number, of which some are lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
import trio

from carlad.messages import Events, EventsQuery, Notice, Status, StatusQuery
from tests.simulation.holder import Asker
from tests.simulation.schedule import UIDS, Watcher

if TYPE_CHECKING:
    from tests.simulation.world import World

_COMPARES_EVERY_S = 30.0
_STATES = {
    "slot.starting": "STARTING",
    "slot.loading": "STARTING",
    "slot.ready": "READY",
    "slot.leased": "LEASED",
    "slot.scrubbing": "SCRUBBING",
    "slot.stopping": "STOPPING",
    "slot.lost": "STOPPING",
    "slot.backoff": "BACKOFF",
    "slot.quarantined": "QUARANTINED",
    "slot.stopped": "STOPPED",
}
_decode = msgspec.msgpack.Decoder(Notice).decode


class Picture(msgspec.Struct):
    """What a watcher believes, as of notice `number` of that `run`."""

    run: str
    number: int
    slots: dict[int, str]
    leases: set[str]
    sessions: set[str]  # those that serve

    def take(self, notice: Notice) -> None:
        self.number = notice.number
        if notice.event in _STATES and notice.slot is not None:
            self.slots[notice.slot] = _STATES[notice.event]
        elif notice.event == "slot.left":
            self.slots.pop(notice.slot, None)
        elif notice.event == "lease.granted" and notice.lease_id is not None:
            self.leases.add(notice.lease_id)
        elif notice.event in ("lease.released", "lease.expired", "lease.lost"):
            self.leases.discard(notice.lease_id or "")
        elif notice.event in ("session.opened", "session.recovered"):
            self.sessions.add(notice.session_id or "")
        elif notice.event in ("session.lost", "session.closed"):
            self.sessions.discard(notice.session_id or "")


def picture_of(status: Status) -> Picture:
    return Picture(
        run=status.run,
        number=status.notice,
        slots={slot.slot: slot.state for slot in status.slots},
        leases={lease.lease_id for lease in status.leases},
        sessions={one.session_id for one in status.sessions if one.state == "SERVING"},
    )


class _Follower:
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._asker = Asker(world, name, UIDS[0], is_known=False)
        self._early: dict[int, Notice] = {}
        self._run = ""
        self.picture: Picture | None = None

    def hear(self, data: bytes) -> None:
        notice = _decode(data)
        if notice.run != self._run:
            self._run, self._early = notice.run, {}
        self._early[notice.number] = notice

    async def compare(self) -> None:
        """Its own picture, brought to the number of a new snapshot, against that."""
        status = await self._asker.ask(StatusQuery())
        assert isinstance(status, Status)
        seen, mine = picture_of(status), self.picture
        if mine is not None and mine.run == seen.run and await self._catch_up(mine, seen.number):
            mine.sessions -= {
                one.session_id for one in status.sessions if one.state == "CLOSED"
            }  # not told yet
            self._world.oracle.watched(mine, seen)
        self.picture = seen

    async def _catch_up(self, mine: Picture, number: int) -> bool:
        """By what was heard, and where that has gaps by asking. False: too much is forgotten."""
        heard = (
            [self._early.get(n) for n in range(mine.number + 1, number + 1)]
            if mine.run == self._run
            else [None]
        )
        if None in heard:
            events = await self._asker.ask(EventsQuery(after=mine.number, run=mine.run))
            assert isinstance(events, Events)
            if events.run != mine.run or events.oldest > mine.number + 1:
                return False
            heard = [one for one in events.notices if one.number <= number]
        _apply(mine, heard)
        self._early = {n: notice for n, notice in self._early.items() if n > number}
        return mine.number == number


def _apply(picture: Picture, notices: Iterable[Notice | None]) -> None:
    for notice in notices:
        if notice is not None:
            picture.take(notice)


async def watch(world: World, plan: Watcher) -> None:
    follower = _Follower(world, f"watcher at {plan.at_s:.3f} s")
    world.post.subscribe(follower.hear)
    with trio.move_on_after(plan.for_s):
        while True:
            await follower.compare()
            await trio.sleep(_COMPARES_EVERY_S)
    world.post.forget(follower.hear)
