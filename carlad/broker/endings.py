"""How leases end: given back, expired, or lost with their server."""

from __future__ import annotations

from collections.abc import Mapping

from carlad.broker.book import Book
from carlad.broker.effects import Effect, Tell
from carlad.broker.fence import Fence
from carlad.broker.lease import Ended, Lease
from carlad.broker.pace import Pace
from carlad.messages import SlotStatus


class Endings:
    """The only one who strikes a lease out of the book."""

    def __init__(self, book: Book, fence: Fence, pace: Pace) -> None:
        self._book = book
        self._fence = fence
        self._pace = pace

    def give_up(self, lease: Lease, why: str, now_s: float, request_id: str | None = None) -> list[Effect]:
        """Its holder wanted it to end, and so does nothing with it any more. `request_id`: of a `Release`."""
        struck = self._strike(lease, "lease.released", Ended(why, release_id=request_id), now_s)
        return struck + self._fence.scrub(lease.slot, lease.lease_id, why)

    def end(self, lease: Lease, why: str, now_s: float) -> list[Effect]:
        """Whether or not its holder knows."""
        struck = self._strike(lease, "lease.expired", Ended(why), now_s)
        return struck + self._fence.end(lease.slot, lease.lease_id, why)

    def expire(self, now_s: float) -> list[Effect]:
        """All whose time is up."""
        effects: list[Effect] = []
        for lease in self._book.expired(now_s):
            why = f"it expired {lease.ttl_s:g} s after its last renewal"
            if lease.expires_at_s == lease.ends_at_s:
                why = f"it lasted for the longest that a lease may, {lease.ends_at_s - lease.begun_at_s:g} s"
            effects += self.end(lease, why, now_s)
        return effects

    def lose(self, slots: Mapping[int, SlotStatus], now_s: float, *, replacing: bool) -> list[Effect]:
        """All that their slots do not hold any more. `replacing`: those that wanted it get a successor."""
        effects: list[Effect] = []
        for lease in self._book.lost(slots):
            status = slots.get(lease.slot)
            why = f": {status.reason}" if status is not None and status.reason else ""
            ended = Ended(f"its server was lost{why}", is_replaced=replacing and lease.acquire.replace)
            effects += self._strike(lease, "lease.lost", ended, now_s)
        return effects

    def abandon(self, now_s: float) -> list[Effect]:
        """All: the fleet ends the servers."""
        effects: list[Effect] = []
        for lease in self._book:
            effects += self._strike(lease, "lease.lost", Ended("carlad is stopping"), now_s)
        return effects

    def _strike(self, lease: Lease, event: str, ended: Ended, now_s: float) -> list[Effect]:
        self._book.strike(lease, ended)
        self._pace.ended(now_s - lease.granted_at_s)
        return [Tell(event, lease.slot, lease.lease_id, ended.why)]
