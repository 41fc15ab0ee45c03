"""A fleet without processes: slots that become READY, load and end after given times."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from carlad.fleet.logs import Excerpt
from carlad.messages import Changed, Reloaded, SlotState, SlotStatus, SlotVitals
from carlad.runtime import Changes
from tests.broker.slots import status


class FakeServers:
    """What the broker needs of a fleet. `ended` and `scrubbed` list (slot, lease_id) in order."""

    def __init__(
        self,
        size: int,
        *,
        load_s: float = 1.0,
        restart_s: float = 1.0,
        scrub_s: float = 0.02,
        answer_s: float = 0.0,
    ):
        self.changes = Changes()
        self.ended: list[tuple[int, str]] = []
        self.used_at_s: float | None = None  # all of them; None: not to be seen
        self.scrubbed: list[tuple[int, str]] = []
        self.grants_of: dict[int, list[str]] = {slot: [] for slot in range(size)}
        self._load_s, self._restart_s = load_s, restart_s
        self._scrub_s, self._answer_s = scrub_s, answer_s
        self._slots = {slot: status(slot) for slot in range(size)}
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Restarts and loads happen while this runs."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def statuses(self) -> tuple[SlotStatus, ...]:
        return tuple(self._slots.values())

    def maps(self) -> dict[int, frozenset[str]]:
        return dict.fromkeys(self._slots, frozenset({"Town01", "Town02"}))

    def idle_s(self, lease_id: str) -> float | None:
        return trio.current_time() - self.used_at_s if self.used_at_s is not None else None

    async def lease(
        self, slot: int, lease_id: str, expected: tuple[int, str | None], furnished_as: str | None
    ) -> bool:
        await trio.sleep(self._answer_s)
        shown = self._slots[slot]
        if shown.state != "READY" or (shown.incarnation, shown.map) != expected:
            return False
        self.grants_of[slot].append(lease_id)
        self.show(slot, state="LEASED", lease_id=lease_id)
        return True

    async def load(self, slot: int, map: str) -> bool:
        await trio.sleep(self._answer_s)
        if self._slots[slot].state != "READY":
            return False
        self.show(slot, state="STARTING")
        self._later(self._load_s, lambda: self.show(slot, state="READY", map=map))
        return True

    async def release(self, slot: int, lease_id: str, reason: str) -> None:
        await trio.sleep(self._answer_s)
        if self._slots[slot].lease_id == lease_id:
            self.scrubbed.append((slot, lease_id))
            self.show(slot, state="SCRUBBING")
            self._later(self._scrub_s, lambda: self._was_scrubbed(slot))

    async def end(self, slot: int, lease_id: str, reason: str) -> None:
        await trio.sleep(self._answer_s)
        if self._slots[slot].lease_id == lease_id:
            self.ended.append((slot, lease_id))
            self.crash(slot, reason)

    async def log(self, slot: int, lines: int, after: str | None = None) -> Excerpt:
        """A log that grows by three lines with each look at it."""
        first = int(after or 0)
        shown = range(first, first + (min(lines, 3) if after else lines))
        return Excerpt(tuple(f"line {number}" for number in shown), str(shown.stop))

    def vitals(self) -> tuple[SlotVitals, ...]:
        return tuple(
            SlotVitals(
                slot=slot,
                incarnation=1,
                age_s=0.0,
                processes=1,
                rss_bytes=1 << 28,
                cores=0.5,
                fds=9,
                threads=7,
            )
            for slot in self._slots
        )

    async def ping(self) -> None:
        """Always well."""

    # --- what operators do

    async def keep(self) -> None:
        """There is no disk."""

    def drain(self, slot: int) -> None:
        self._set_draining(slot, True)

    def undrain(self, slot: int) -> None:
        self._set_draining(slot, False)

    def restart(self, slot: int) -> None:
        self.crash(slot, "restarted")

    def quarantine(self, slot: int, why: str) -> None:
        self.show(slot, state="QUARANTINED", reason=why)

    def shut_down(self, *, now: bool) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    async def scale(self, size: int) -> None:
        for slot in range(len(self._slots), size):
            self._slots[slot] = status(slot)
        self._slots = {slot: self._slots[slot] for slot in range(size)}
        self.changes.mark()

    async def reload(self) -> Reloaded:
        changed = Changed(key="lease.ttl_s", old="30.0", new="60.0", applies="now")
        return Reloaded(changes=(changed,))

    # --- what happens

    def crash(self, slot: int, reason: str = "crashed") -> None:
        """The incarnation is over; the next one is READY after `restart_s`."""
        incarnation = self._slots[slot].incarnation + 1
        self.show(slot, state="STOPPING", lease_id=None, reason=reason)
        self._later(self._restart_s, lambda: self._restarted(slot, incarnation))

    def crash_if_up(self, slot: int) -> None:
        if self._slots[slot].state in ("READY", "LEASED", "SCRUBBING"):
            self.crash(slot)

    def show(
        self,
        slot: int,
        *,
        state: SlotState,
        map: str | None = "",
        lease_id: str | None = None,
        reason: str = "",
    ) -> None:
        before = self._slots[slot]
        self._slots[slot] = msgspec.structs.replace(
            before, state=state, map=map or before.map, lease_id=lease_id, reason=reason or before.reason
        )
        self.changes.mark()

    def _set_draining(self, slot: int, draining: bool) -> None:
        self._slots[slot] = msgspec.structs.replace(self._slots[slot], draining=draining)
        self.changes.mark()

    def _was_scrubbed(self, slot: int) -> None:
        if self._slots[slot].state == "SCRUBBING":
            self.show(slot, state="READY")

    def _restarted(self, slot: int, incarnation: int) -> None:
        self._slots[slot] = status(slot, incarnation=incarnation)
        self.changes.mark()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait_and_act() -> None:
            await trio.sleep(seconds)
            act()

        assert self._nursery is not None, "run() does not run"
        self._nursery.start_soon(wait_and_act)
