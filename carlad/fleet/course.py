"""How one incarnation goes, as its slot tells it: READY, lent, scrubbed, worn, ended. Nothing here waits."""

from __future__ import annotations

import time

import trio

from carlad.fleet.autopsy import Cause
from carlad.fleet.condition import Condition
from carlad.fleet.lifecycle import Event, State
from carlad.fleet.resources import Usage
from carlad.fleet.situation import Situation


class Course:
    """`scope` is around all that is done for the incarnation: its end cancels it."""

    def __init__(self, situation: Situation, now_s: float, *, was_ready: bool) -> None:
        self.scope = trio.CancelScope()
        self.condition = Condition(situation.number, situation.status.incarnation, now_s)
        self.was_ready = was_ready
        self.failed = False  # whether it ended against our will
        self._situation = situation
        self._standing = situation.standing
        self._ready_at_s = now_s

    @property
    def idle_s(self) -> float:
        """Of a server that is READY: for how long."""
        return trio.current_time() - self._ready_at_s

    def become_ready(self, **changes: object) -> None:
        """Unless it has just ended: whoever looked after it may hear of that a moment later."""
        if not self._situation.has_server:
            return
        self._situation.wear.became_ready(_boottime_s())
        self.outdate_if_worn()
        self._situation.enter(Event.READY, **changes)
        self.was_ready = True
        self._situation.plan.outbreak.started()
        self._ready_at_s = trio.current_time()
        self._situation.tell("slot.ready")
        self.end_if_unwanted()

    def lease(self, lease_id: str) -> None:
        self._situation.wear.was_leased()
        self._situation.enter(Event.LEASE, lease_id=lease_id)
        self._situation.tell("slot.leased", lease_id=lease_id)

    def load(self, wanted_map: str) -> None:
        self._count_service()
        self._situation.enter(Event.LOAD, map=None)
        self._situation.tell("slot.loading", reason=wanted_map)

    def scrub(self, reason: str, lease_id: str | None = None) -> None:
        """`lease_id`: whose holder gave it back."""
        self._count_service()
        self._situation.enter(Event.SCRUB, lease_id=None)
        self._situation.tell("slot.scrubbing", lease_id=lease_id, reason=reason)

    def weigh(self, usage: Usage) -> None:
        self.condition.uses(usage, trio.current_time())
        wear = self._situation.wear
        wear.weighs(_boottime_s(), usage.rss_bytes, self.condition.gpu_memory_bytes or 0)
        self._tell_of_too_tight_limits()
        self.outdate_if_worn()
        self.end_if_unwanted()

    def replace_when_free(self, why: str) -> None:
        if self._situation.has_server:
            self._standing.outdate(why)

    def end_if_unwanted(self) -> None:
        """Unless somebody holds it, or is about to have it back."""
        unheld = self._situation.state in (State.STARTING, State.READY)
        if unheld and not self._standing.may_be_leased:
            self.end(self._standing.why, failed=False)

    def end(
        self,
        reason: str,
        *,
        failed: bool,
        cause: Cause | None = None,
        last_words: tuple[str, ...] = (),
    ) -> None:
        """The first reason counts. The lease ends here; the processes end behind the cancelled scope."""
        situation = self._situation
        if not situation.has_server:
            return
        if situation.state in (State.READY, State.LEASED):
            self._count_service()
        lease_id = situation.status.lease_id
        self.failed = failed
        situation.enter(Event.END, lease_id=None, reason=reason)
        if failed:
            situation.change(cause=cause and cause.value, last_words=last_words)
        event = "slot.lost" if failed else "slot.stopping"
        situation.tell(event, lease_id=lease_id, reason=reason, cause=cause)
        self.scope.cancel()

    def quarantine(self, why: str, cause: Cause | None = None) -> None:
        """Ends it at once, whoever holds it: no other server would be any better. `cause`: of one that is
        to blame for it itself."""
        self._standing.quarantine(why)
        self.end(why, failed=cause is not None, cause=cause)
        self._situation.follow_wish()

    def fail(self, reason: str) -> None:
        """Whatever it ended of before: it could not be started, or something of it does not die."""
        self.end(reason, failed=True)
        self.failed = True
        self._situation.change(reason=reason)

    def outdate_if_worn(self) -> None:
        """It is to be replaced before it is leased again."""
        worn = self._situation.wear.verdict(self._situation.plan.recycle, _boottime_s())
        if worn is not None and not self._standing.is_outdated:
            self.replace_when_free(f"it is recycled: {worn}")

    def _tell_of_too_tight_limits(self) -> None:
        """Once, and not of each incarnation."""
        limits = self._situation.plan.recycle
        if self._standing.told_of == limits:
            return
        too_tight = self._situation.wear.too_tight(limits)
        if too_tight is not None and self._situation.state is State.READY:
            self._standing.told_of = limits
            self._situation.tell("slot.limit_too_tight", reason=too_tight)

    def _count_service(self) -> None:
        self._standing.ran(self.idle_s)


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
