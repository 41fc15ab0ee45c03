"""A permanent place for a server: the unit that starts, checks, lends, ends and restarts it.

Two tasks touch a slot's state: the mailbox's, for what other units ask, and the life's, for what happens
to the server. Neither awaits between looking and changing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet import logs, probe
from carlad.fleet.autopsy import Cause, Verdict, autopsy
from carlad.fleet.backends.interface import Found, Server
from carlad.fleet.baseline import Baseline
from carlad.fleet.condition import Condition
from carlad.fleet.gpu.devices import Device
from carlad.fleet.ledger import Ledger
from carlad.fleet.lifecycle import Event, State
from carlad.fleet.liveness import stay_alive
from carlad.fleet.parking import Parking
from carlad.fleet.plan import Plan
from carlad.fleet.ports import LOOPBACK, Ports
from carlad.fleet.progress import Progress
from carlad.fleet.reach import Reach
from carlad.fleet.records import SlotRecord, run_name
from carlad.fleet.requests import End, Lease, Load, Release, SlotRequest
from carlad.fleet.resources import Usage, watch_usage
from carlad.fleet.rest import Rest
from carlad.fleet.scrub import UncleanError, baseline_of, scrub
from carlad.fleet.situation import Notify, Situation
from carlad.fleet.standing import Wish
from carlad.fleet.tenancy import Tenancies, Tenancy, furnish
from carlad.fleet.visitors import Visitors, one_of
from carlad.journal import JournalError, Put
from carlad.messages import SlotStatus, SlotVitals
from carlad.runtime import Changes, Mailbox
from carlad.wire.types import EpisodeSettings

_MAILBOX_CAPACITY = 64
# A crash closes connections before its shim can report it, and is the better reason.
_CRASH_SPEAKS_FIRST_S = 0.3
_WORDS_KEPT = 5  # lines of a lost server's output, for its status

# What interrupts the watch over a quiet server, and the baseline that it leaves.
Errand = Callable[[Reach, Baseline], Awaitable[Baseline]]


class Slot:
    def __init__(
        self,
        number: int,
        plan: Plan,
        notify: Notify,
        changes: Changes,
        hurry: trio.Event,
        ledger: Ledger,
    ) -> None:
        self.mailbox = Mailbox[SlotRequest, bool](_MAILBOX_CAPACITY)
        self.log_path = logs.log_path(plan.log_dir, number)
        self._situation = Situation(number, plan, notify, changes, ledger)
        self._hurry = hurry
        self._standing = self._situation.standing
        self._rest = Rest(self._situation, plan.outbreak)
        self._failed = False  # whether the last incarnation ended against our will
        self._was_ready = False  # in this incarnation
        self._ready_at = 0.0
        self._condition = Condition(number, 0, 0.0)
        self._tree: Callable[[], tuple[int, ...]] = tuple  # its server's processes
        self._life = trio.CancelScope()
        self._quiet_watch = trio.CancelScope()
        self._errand: Errand | None = None
        self._found: Found | None = None  # a server that was taken back and has no task yet
        self._reach: Reach | None = None
        self._tenancies = Tenancies()

    @property
    def status(self) -> SlotStatus:
        return self._situation.status

    @property
    def maps(self) -> frozenset[str]:
        """That its servers said they have."""
        return self._situation.maps

    def tenancy(self, lease_id: str) -> Tenancy | None:
        """What its holder does or did with the server, as far as that is remembered."""
        return self._tenancies.of(lease_id)

    async def furnish(self, settings: EpisodeSettings) -> None:
        """For the holder of a lease that replaces another."""
        if self._reach is not None:
            with trio.move_on_after(self._situation.plan.probe.timeout_s):
                await furnish(self._reach, settings)

    def vitals(self) -> SlotVitals | None:
        """Of its server; None where none runs."""
        if not self._situation.has_server:
            return None
        return self._condition.vitals(trio.current_time(), logs.size(self.log_path))

    def draws(self, cards: Sequence[Device]) -> None:
        """What `cards` are as they were just looked at."""
        if self._situation.has_server:
            pids = frozenset(self._tree())
            self._condition.draws(sum(card.used_by(pids) for card in cards))

    async def run(self) -> None:
        """Incarnation after incarnation, until it is to be gone or cancelled; the server is ended first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.mailbox.serve, self._handle)
            try:
                if self._found is not None:
                    await self._incarnation()
                while await self._is_due():
                    await self._incarnation()
            finally:
                self._rest.halt()
            nursery.cancel_scope.cancel()

    async def _is_due(self) -> bool:
        may_be_shared = self._situation.plan.backend.shares_fate and not self._was_ready
        return await self._rest.until_due(failed=self._failed, may_be_shared=may_be_shared)

    # --- what an earlier daemon left; before `run`

    def go_on(self, record: SlotRecord | None, incarnation: int) -> None:
        """As the slot that `record` speaks of, without a server; the last incarnation had that number."""
        self._situation.go_on(record, incarnation)

    def take_back(self, record: SlotRecord, found: Found) -> None:
        """Its server runs. Who held it holds it; where nobody did, it is checked and scrubbed once more."""
        self._found, was = found, record.status
        self._situation.made_from = record.made_from
        self._ready_at = trio.current_time()
        self._condition = Condition(self._situation.number, was.incarnation, self._ready_at)
        self._was_ready = State(was.state) is not State.STARTING
        self._situation.enter(Event.START)
        if was.lease_id is not None:
            self._situation.enter(Event.READY)
            self._situation.enter(Event.LEASE)
        state, draining = self._situation.status.state, self._situation.status.draining
        self._situation.change(**msgspec.structs.asdict(was) | {"state": state, "draining": draining})
        if record.made_from != self._situation.plan.made_from:
            self._standing.outdate("its configuration has changed")
        self._situation.tell("slot.adopted", lease_id=was.lease_id)

    def mourn(self, record: SlotRecord, why: str) -> None:
        """Its server was in a run, and ended while nobody looked."""
        self._was_ready = State(record.status.state) is not State.STARTING
        self._situation.enter(Event.START)
        self._situation.change(lease_id=record.status.lease_id)
        self._end(why, failed=True)

    def farewell(self) -> Put:
        """For the journal, after an orderly end."""
        return self._situation.farewell()

    # --- what the operator wants

    def drain(self) -> None:
        """No lease from now on; the server ends as soon as nobody holds it, and none is started."""
        self._standing.wants_down("it is drained")
        self._follow_wish()

    def undrain(self) -> None:
        """Nothing happens where it is not draining."""
        if self._standing.is_draining:
            self._standing.wants_up()
            self._follow_wish()

    def leave(self) -> None:
        """As `drain`, and then `run` returns."""
        self._standing.wants_gone("the fleet shrinks")
        self._follow_wish()

    @property
    def is_leaving(self) -> bool:
        return self._standing.wish is Wish.GONE

    def restart(self) -> None:
        """Another incarnation as soon as nobody holds this one; at once where none runs, whatever the
        reason was. Earlier failures are forgotten."""
        self._rest.begin_anew()
        self._replace_when_free("it is restarted by hand")
        self._follow_wish()

    def quarantine(self, why: str) -> None:
        """Ends the server at once, whoever holds it; none is started before `restart`."""
        self._standing.quarantine(why)
        self._end(why, failed=False)
        self._follow_wish()

    def use(self, plan: Plan, *, replace: bool) -> None:
        """From now on; `replace`: another incarnation as soon as nobody holds this one."""
        if plan.probe != self._situation.plan.probe:
            self._quiet_watch.cancel()  # and begun again with the new limits
        self._situation.plan = plan
        self._standing.use(plan.restart)
        if replace:
            self._replace_when_free("its configuration has changed")
        self._follow_wish()

    def _replace_when_free(self, why: str) -> None:
        if self._situation.has_server:
            self._standing.outdate(why)

    def _follow_wish(self) -> None:
        self._rest.follow_wish()
        if not self._standing.may_be_leased and self._situation.state in (State.STARTING, State.READY):
            self._end(self._standing.why, failed=False)

    # --- what others ask

    async def _handle(self, request: SlotRequest) -> bool:
        if isinstance(request, Lease):
            return await self._lease(request.lease_id, request.expected)
        if isinstance(request, Load):
            return self._load(request.map)
        if isinstance(request, Release):
            return self._release(request.lease_id, request.reason)
        if isinstance(request, End):
            return self._end_lease(request.lease_id, request.reason)
        return True

    async def _lease(self, lease_id: str, expected: tuple[int, str | None] | None) -> bool:
        """Journal first: a daemon that is killed in between must not take a held server for a free one."""
        if self._situation.state is State.READY:
            await self._wake()
        if self._situation.state is not State.READY or not await self._situation.keep_as_leased(lease_id):
            return False
        if self._situation.state is State.READY:  # still
            await self._turn_strangers_away()
        if self._situation.state is not State.READY:
            return False
        if expected not in (None, (self._situation.status.incarnation, self._situation.status.map)):
            return False
        self._condition.wear.was_leased()
        self._progress.stop()
        self._situation.enter(Event.LEASE, lease_id=lease_id)
        self._tenancies.see(lease_id, None, is_used=True)
        self._situation.tell("slot.leased", lease_id=lease_id)
        return True

    def _load(self, wanted_map: str) -> bool:
        if self._situation.state is not State.READY:
            return False
        self._count_service()
        self._situation.enter(Event.LOAD, map=None)
        self._situation.tell("slot.loading", reason=wanted_map)
        self._go(partial(self._load_map, wanted_map))
        return True

    def _release(self, lease_id: str, reason: str) -> bool:
        if not self._is_held_by(lease_id):
            return False
        if not self._standing.may_be_leased:
            self._end(self._standing.why, failed=False)
            return True
        self._count_service()
        self._situation.enter(Event.SCRUB, lease_id=None)
        self._situation.tell("slot.scrubbing", lease_id=lease_id, reason=reason)
        self._go(self._scrub_after_holder)
        return True

    def _end_lease(self, lease_id: str, reason: str) -> bool:
        if not self._is_held_by(lease_id):
            return False
        self._end(reason, failed=False)
        return True

    def _is_held_by(self, lease_id: str) -> bool:
        return self._situation.state is State.LEASED and self._situation.status.lease_id == lease_id

    def _go(self, errand: Errand) -> None:
        self._errand = errand
        self._quiet_watch.cancel()

    # --- one incarnation

    async def _incarnation(self) -> None:
        """From its start until the last of its processes has gone, for whatever reason."""
        found, self._found = self._found, None
        if found is None:
            self._begin()
        folder = self._situation.plan.runs / run_name(
            self._situation.number, self._situation.status.incarnation
        )
        try:
            with trio.CancelScope() as self._life, self._a_block_of_ports(found) as ports:
                self._follow_wish()
                if not self._situation.has_server:  # it was taken back only to be ended
                    self._life.cancel()
                async with self._server(found, ports, folder) as server:
                    await self._live(server, ports)
        except ServerError as error:  # it could not be started, or something of it does not die
            self._end(str(error), failed=True)
            self._failed = True
            self._situation.change(reason=str(error))
        finally:
            self._end("the slot stops", failed=False)  # only where nothing else ended it
            self._situation.change(
                pid=None, rpc_port=None, streaming_port=None, traffic_manager_port=None, map=None
            )

    def _begin(self) -> None:
        self._failed = self._was_ready = False
        self._standing.is_outdated = False
        self._situation.made_from, self._situation.baseline = self._situation.plan.made_from, None
        self._situation.enter(Event.START, incarnation=self._situation.status.incarnation + 1)
        self._condition = Condition(
            self._situation.number, self._situation.status.incarnation, trio.current_time()
        )
        self._situation.tell("slot.starting")

    @contextmanager
    def _a_block_of_ports(self, found: Found | None) -> Iterator[Ports]:
        """Another one than before, or where a server that was taken back listens."""
        backend, before = self._situation.plan.backend, self._situation.ports
        place = (
            backend.place(before, self._situation.number)
            if found is None or before is None
            else backend.place_again(before)
        )
        with place as ports:
            self._situation.ports = ports
            self._situation.change(
                host=self._situation.plan.host if ports.host == LOOPBACK else ports.host,
                rpc_port=ports.rpc,
                streaming_port=ports.streaming,
                traffic_manager_port=ports.traffic_manager,
            )
            yield ports

    @asynccontextmanager
    async def _server(self, found: Found | None, ports: Ports, folder: Path) -> AsyncIterator[Server]:
        """One that was taken back, or one that is started once the journal knows where."""
        backend = self._situation.plan.backend
        if found is not None:
            async with backend.adopted(found, ports, folder, self._hurry) as server:
                yield server
            return
        try:
            await self._situation.keep_ports(ports)
        except JournalError as error:
            raise ServerError(f"cannot start a server: {error}") from error
        async with backend.running(ports, folder, self.log_path, self._hurry) as server:
            self._situation.change(pid=server.pid)
            yield server

    async def _live(self, server: Server, ports: Ports) -> None:
        """Watches process and answers side by side; each ends the incarnation, and so both."""
        self._tree = server.tree
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_process, server, ports)
                nursery.start_soon(self._watch_answers, server, ports)
                nursery.start_soon(
                    watch_usage, server.tree, self._situation.plan.recycle.period_s, self._weigh
                )
        finally:
            self._end("the slot stops", failed=False)

    async def _watch_process(self, server: Server, ports: Ports) -> None:
        how = await server.ended()
        words = await trio.to_thread.run_sync(logs.last_words, self.log_path)
        verdict = autopsy(how, words, out_of_memory=server.ran_out_of_memory())
        if self._situation.state is State.STARTING:
            how = f"{how} while it started"
            verdict = await self._stranger(server, ports) or verdict
        self._end(f"{how}: {verdict}", failed=True, cause=verdict.cause, last_words=words[-_WORDS_KEPT:])

    async def _stranger(self, server: Server, ports: Ports) -> Verdict | None:
        """CARLA does not always say that a port is in use: it crashes (carla-simulator/carla issue 3062)."""
        try:
            await trio.to_thread.run_sync(server.listener, ports)
        except ServerError as stranger:
            return Verdict(Cause.PORT_IN_USE, str(stranger))
        return None

    def _weigh(self, usage: Usage) -> None:
        self._condition.uses(usage, trio.current_time())
        self._recycle_if_worn()

    def _recycle_if_worn(self) -> None:
        """As soon as nobody holds it."""
        worn = self._condition.worn(self._situation.plan.recycle, trio.current_time())
        if worn is not None and not self._standing.is_outdated:
            self._replace_when_free(f"it is recycled: {worn}")
            self._follow_wish()

    async def _watch_answers(self, server: Server, ports: Ports) -> None:
        try:
            reach = self._reach = Reach(ports)
            self._parking = Parking(reach)
            self._progress = Progress(reach)
            self._visitors = Visitors(reach, server.tree)
            if self._situation.state is State.STARTING:  # and not held by somebody all the while
                await self._check(reach, server)
            while True:
                with trio.CancelScope() as self._quiet_watch:
                    await stay_alive(reach, server.tree, self._situation.plan.probe, self)
                if self._errand is None:
                    continue  # other limits
                errand, self._errand = self._errand, None
                await self._parking.wake()
                assert self._situation.baseline is not None
                self._situation.baseline = await errand(reach, self._situation.baseline)
                self._become_ready(map=self._situation.baseline.map)
        except probe.UnfitError as error:
            self.quarantine(str(error))
        except ServerError as error:
            await trio.sleep(_CRASH_SPEAKS_FIRST_S)
            self._end(str(error), failed=True)

    async def _check(self, reach: Reach, server: Server) -> None:
        """One that was taken back is scrubbed, too: nobody looked for a while."""
        known, wanted_map = (
            self._situation.baseline,
            self._situation.plan.map_of(self._situation.number) if self._situation.baseline is None else "",
        )
        checked = await probe.check_start(reach, server.listener, wanted_map, self._situation.plan.probe)
        self._situation.maps = checked.maps
        if known is None:
            self._situation.baseline = await self._record(reach, checked.map)
            await self._visitors.look()  # who was there before, and is not any more, did no harm
        else:
            self._situation.baseline = await self._scrub_after_holder(reach, known)
        self._become_ready(map=self._situation.baseline.map, pid=checked.pid)

    async def _load_map(self, wanted_map: str, reach: Reach, _baseline: Baseline) -> Baseline:
        loaded = await probe.load_map(reach, wanted_map, self._situation.plan.probe.load_max_s)
        self._condition.wear.loaded_a_map()
        return await self._record(reach, loaded)

    async def _record(self, reach: Reach, map: str) -> Baseline:
        with trio.move_on_after(self._situation.plan.probe.timeout_s * self._situation.plan.probe.failures):
            return await baseline_of(reach, map)
        raise ServerError("cannot record what its world is like: no answer")

    async def _scrub_after_holder(self, reach: Reach, baseline: Baseline) -> Baseline:
        """Who gave the server back and stays connected is no fault of the server's."""
        try:
            return await self._scrub(reach, baseline)
        except UncleanError as error:
            self._end(f"cannot be scrubbed: {error}", failed=False)
            await trio.sleep_forever()  # which the end of this life ends

    async def _scrub(self, reach: Reach, baseline: Baseline) -> Baseline:
        return await scrub(reach, self._visitors, baseline, self._situation.plan.probe.load_max_s)

    # --- what the watch over a quiet server hears

    async def heard(self, settings: EpisodeSettings | None, after_s: float) -> None:
        self._condition.answered(after_s)
        if self._situation.state is State.READY:
            await self._turn_strangers_away()
            await self._look_for_progress()
        elif (lease_id := self._situation.status.lease_id) is not None:
            came = await self._visitors.came()
            can_see = self._reach is not None and self._reach.ports.host == LOOPBACK
            self._tenancies.see(lease_id, settings, is_used=bool(came) or not can_see)
        if settings is not None and self._situation.state is State.READY:
            await self._park_if_idle(settings)

    async def _look_for_progress(self) -> None:
        missing = await self._progress.is_missing(self._situation.plan.probe.timeout_s)
        if missing and self._situation.state is State.READY:
            self._end("it answers, but its world does not tick", failed=True)

    async def _park_if_idle(self, settings: EpisodeSettings) -> None:
        park_after_s = self._situation.plan.park_after_s
        idle_s = trio.current_time() - self._ready_at
        if park_after_s and idle_s >= park_after_s and not self._parking.is_parked:
            await self._parking.park(settings)
            self._situation.tell("slot.parked")

    async def _wake(self) -> None:
        try:
            await self._parking.wake()
        except ServerError as error:
            self._end(str(error), failed=True)

    def revived(self) -> None:
        self._situation.tell("slot.revived", lease_id=self._situation.status.lease_id)

    async def _turn_strangers_away(self) -> None:
        """A server at which somebody has been since it was scrubbed is nobody's to lease."""
        came = await self._visitors.came()
        if not came:
            return
        who, port = await one_of(came)
        reason = f"{who}, a stranger, was connected to port {port}"
        if self._situation.state is not State.READY:
            return
        self._count_service()
        self._situation.enter(Event.SCRUB)
        self._situation.tell("slot.scrubbing", reason=reason)
        self._go(self._scrub)

    def _become_ready(self, **changes: object) -> None:
        self._recycle_if_worn()
        self._situation.enter(Event.READY, **changes)
        self._was_ready = True
        self._situation.plan.outbreak.started()
        self._ready_at = trio.current_time()
        self._situation.tell("slot.ready")
        if not self._standing.may_be_leased:
            self._end(self._standing.why, failed=False)

    def _end(
        self,
        reason: str,
        *,
        failed: bool,
        cause: Cause | None = None,
        last_words: tuple[str, ...] = (),
    ) -> None:
        """The first reason counts. The lease ends here; the processes end behind the cancelled life."""
        if not self._situation.has_server:
            return
        if self._situation.state in (State.READY, State.LEASED):
            self._count_service()
        lease_id = self._situation.status.lease_id
        self._failed = failed
        self._situation.enter(Event.END, lease_id=None, reason=reason)
        if failed:
            self._situation.change(cause=cause and cause.value, last_words=last_words)
        self._situation.tell(
            "slot.lost" if failed else "slot.stopping", lease_id=lease_id, reason=reason, cause=cause
        )
        self._life.cancel()

    def _count_service(self) -> None:
        self._standing.ran(trio.current_time() - self._ready_at)
