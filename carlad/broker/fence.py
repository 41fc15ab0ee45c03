"""What is to become of servers whose lease has ended."""

from __future__ import annotations

from collections.abc import Container, Iterable

from carlad.broker.effects import Effect, End, Scrub
from carlad.messages import SlotStatus


class Fence:
    """Remembers what was ordered until the slots show that it was done."""

    def __init__(self) -> None:
        self._ordered: set[str] = set()

    def scrub(self, slot: int, lease_id: str, why: str) -> list[Effect]:
        self._ordered.add(lease_id)
        return [Scrub(slot, lease_id, why)]

    def end(self, slot: int, lease_id: str, why: str) -> list[Effect]:
        self._ordered.add(lease_id)
        return [End(slot, lease_id, why)]

    def not_done(self, lease_id: str) -> None:
        """The fleet did not do what was ordered."""
        self._ordered.discard(lease_id)

    def end_unknown(self, slots: Iterable[SlotStatus], known: Container[str]) -> list[Effect]:
        """A slot may hold a lease that nobody knows, which nobody would ever end."""
        held = {s.lease_id: s.slot for s in slots if s.lease_id is not None}
        self._ordered &= held.keys()
        effects: list[Effect] = []
        for lease_id, slot in held.items():
            if lease_id not in known and lease_id not in self._ordered:
                effects += self.end(slot, lease_id, "the broker does not know the lease")
        return effects
