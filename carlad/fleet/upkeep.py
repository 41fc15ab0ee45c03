"""Looks after one server through its calls and streams: checks it, watches over it, runs errands to it.

The watch over a quiet server is interrupted for an errand, which loads a map or scrubs it, and goes on
when the server is READY again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from carlad.errors import ServerError
from carlad.fleet import probe
from carlad.fleet.autopsy import Cause
from carlad.fleet.backends.interface import Serving
from carlad.fleet.baseline import Baseline
from carlad.fleet.connections import Connection
from carlad.fleet.course import Course
from carlad.fleet.lifecycle import State
from carlad.fleet.liveness import stay_alive
from carlad.fleet.parking import Parking
from carlad.fleet.ports import LOOPBACK, Ports
from carlad.fleet.progress import Progress
from carlad.fleet.reach import Reach
from carlad.fleet.scrub import UncleanError, baseline_of, scrub
from carlad.fleet.situation import Situation
from carlad.fleet.tenancy import furnish
from carlad.fleet.visitors import Visitors, one_of
from carlad.wire.types import EpisodeSettings

_LOOK_AGE_MAX_S = 0.25  # of what a probe hears of: slots share looks, which are dear
# From the baseline of a server to the one that it leaves.
Errand = Callable[[Baseline], Awaitable[Baseline]]


class Upkeep:
    """Of one incarnation. `load`, `scrub` and `turn_strangers_away` leave an errand to `run`."""

    def __init__(
        self,
        situation: Situation,
        course: Course,
        ports: Ports,
        tree: Callable[[], tuple[int, ...]],
    ) -> None:
        """`tree`: the server's processes."""
        self._situation = situation
        self._course = course
        self._tree = tree
        self._reach = Reach(ports)
        self._parking = Parking(self._reach)
        self._progress = Progress(self._reach)
        self._visitors = Visitors(self._reach, tree, situation.plan.looks)
        self._quiet_watch = trio.CancelScope()
        self._errand: Errand | None = None

    async def run(self, listener: Callable[[Ports], Serving | None]) -> None:
        """For ever. Raises UnfitError and other ServerErrors. `listener`: as `Server.listener`."""
        if self._situation.state is State.STARTING:  # and not held by somebody all the while
            await self._check(listener)
        while True:
            errand = await self._watch_until_errand()
            await self._parking.wake()
            assert self._situation.baseline is not None
            self._situation.baseline = await errand(self._situation.baseline)
            self._course.become_ready(map=self._situation.baseline.map)

    async def _watch_until_errand(self) -> Errand:
        while self._errand is None:  # as after a change of limits
            with trio.CancelScope() as self._quiet_watch:
                await stay_alive(self._reach, self._tree, self._situation.plan.probe, self)
        errand, self._errand = self._errand, None
        return errand

    def watch_anew(self) -> None:
        """With the plan's limits as they are now."""
        self._quiet_watch.cancel()

    # --- what its slot wants

    async def wake(self) -> None:
        try:
            await self._parking.wake()
        except ServerError as error:
            self._course.end(str(error), failed=True, cause=Cause.UNFIT)

    async def turn_strangers_away(self, age_max_s: float = 0.0) -> None:
        """A server at which somebody has been since it was scrubbed is nobody's to lease. `age_max_s`: of
        what is known of that."""
        came = await self._strangers(age_max_s)
        if came:
            who, port = await one_of(came)
            why = f"{who}, a stranger, was connected to port {port}"
        elif self._visitors.may_be_missed and not self._situation.plan.is_open:
            why = "a stranger may have been there: for a minute nobody looked"
        else:
            return
        if self._situation.state is State.READY:
            self._course.scrub(why)
            self._go(self._scrub)

    def begin_tenancy(self, lease_id: str) -> None:
        """From now on somebody holds it."""
        self._progress.stop()
        self._situation.tenancies.see(lease_id, None, is_used=True)

    async def furnish(self, settings: EpisodeSettings) -> None:
        """For the holder of a lease that replaces another."""
        with trio.move_on_after(self._situation.plan.probe.timeout_s):
            await furnish(self._reach, settings)

    def load(self, wanted_map: str) -> None:
        self._go(partial(self._load_map, wanted_map))

    def scrub(self) -> None:
        """After a holder."""
        self._go(self._scrub_after_holder)

    def _go(self, errand: Errand) -> None:
        self._errand = errand
        self._quiet_watch.cancel()

    # --- the check and the errands

    async def _check(self, listener: Callable[[Ports], Serving | None]) -> None:
        """One that was taken back is scrubbed, too: nobody looked for a while."""
        situation, plan = self._situation, self._situation.plan
        known = situation.baseline
        wanted_map = plan.map_of(situation.number) if known is None else ""
        await self._visitors.look()
        checked = await probe.check_start(self._reach, listener, wanted_map, plan.probe)
        situation.maps = checked.maps
        if known is None:
            situation.baseline = await self._record(checked.map)
            if await self._strangers():
                situation.baseline = await self._load_map(checked.map, situation.baseline)
        else:
            situation.baseline = await self._scrub_after_holder(known)
        self._course.become_ready(map=situation.baseline.map, pid=checked.pid)

    async def _load_map(self, wanted_map: str, _baseline: Baseline) -> Baseline:
        """What a stranger leaves in a world before it is recorded would be taken for a part of it."""
        await self._visitors.look()
        loaded = await probe.load_map(self._reach, wanted_map, self._situation.plan.probe.load_max_s)
        self._situation.wear.loaded_a_map()
        baseline = await self._record(loaded)
        if came := await self._strangers():
            who, port = await one_of(came)
            raise ServerError(f"{who}, a stranger, was connected to port {port} while {loaded} was loaded")
        self._visitors.put_right()
        return baseline

    async def _strangers(self, age_max_s: float = 0.0) -> frozenset[Connection]:
        """That came since the last look."""
        return frozenset() if self._situation.plan.is_open else await self._visitors.came(age_max_s)

    async def _record(self, map: str) -> Baseline:
        limits = self._situation.plan.probe
        with trio.move_on_after(limits.timeout_s * limits.failures):
            return await baseline_of(self._reach, map)
        raise ServerError("cannot record what its world is like: no answer")

    async def _scrub_after_holder(self, baseline: Baseline) -> Baseline:
        """Who gave the server back and stays connected is no fault of the server's."""
        try:
            return await self._scrub(baseline)
        except UncleanError as error:
            self._course.end(f"cannot be scrubbed: {error}", failed=False)
            await trio.sleep_forever()  # which the end of this incarnation ends

    async def _scrub(self, baseline: Baseline) -> Baseline:
        return await scrub(self._reach, self._visitors, baseline, self._situation.plan.probe.load_max_s)

    # --- what the watch over a quiet server hears

    async def heard(self, settings: EpisodeSettings | None, after_s: float) -> None:
        self._course.condition.answered(after_s)
        if self._situation.state is State.READY:
            await self.turn_strangers_away(_LOOK_AGE_MAX_S)
            await self._look_for_progress()
        elif (lease_id := self._situation.status.lease_id) is not None:
            came = await self._visitors.came(_LOOK_AGE_MAX_S)
            can_see = self._reach.ports.host == LOOPBACK
            if self._situation.tenancies.see(lease_id, settings, is_used=bool(came) or not can_see):
                self._situation.change()  # the next daemon is to know it
        if settings is not None and self._situation.state is State.READY:
            await self._park_if_idle(settings)

    def revived(self) -> None:
        self._situation.tell("slot.revived", lease_id=self._situation.status.lease_id)

    async def _look_for_progress(self) -> None:
        missing = await self._progress.is_missing(self._situation.plan.probe.timeout_s)
        if missing and self._situation.state is State.READY:
            self._course.end("it answers, but its world does not tick", failed=True, cause=Cause.UNFIT)

    async def _park_if_idle(self, settings: EpisodeSettings) -> None:
        park_after_s = self._situation.plan.park_after_s
        is_due = park_after_s and self._course.idle_s >= park_after_s
        if is_due and not self._parking.is_parked:
            await self._parking.park(settings)
            self._situation.tell("slot.parked")
