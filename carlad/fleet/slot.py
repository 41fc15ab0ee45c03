"""A permanent place for a server: the unit that starts, checks, lends, ends and restarts it.

Two tasks touch a slot's state: the mailbox's, for what other units ask, and the life's, for what happens
to the server. Neither awaits between looking and changing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from carlad.config import ProbeSection, RecycleSection
from carlad.errors import ServerError
from carlad.fleet import logs, probe
from carlad.fleet.autopsy import Cause, Verdict, autopsy, kernel_kills
from carlad.fleet.backends.interface import Backend, Found, Server
from carlad.fleet.baseline import Baseline
from carlad.fleet.condition import Condition
from carlad.fleet.gpu.devices import Device
from carlad.fleet.ledger import Ledger
from carlad.fleet.lifecycle import Event, Lifecycle, State
from carlad.fleet.liveness import stay_alive
from carlad.fleet.outbreak import Outbreak
from carlad.fleet.parking import Parking
from carlad.fleet.ports import LOOPBACK, Ports
from carlad.fleet.progress import Progress
from carlad.fleet.reach import Reach
from carlad.fleet.records import SLOT, SlotRecord, ring, run_name
from carlad.fleet.resources import Usage, watch_usage
from carlad.fleet.scrub import UncleanError, baseline_of, scrub
from carlad.fleet.standing import Standing, Wish
from carlad.fleet.tenancy import Tenancies, Tenancy, furnish
from carlad.fleet.visitors import Visitors, one_of
from carlad.journal import JournalError, Put
from carlad.log import get_logger
from carlad.messages import SlotStatus, SlotVitals
from carlad.runtime import Changes, Mailbox, RestartPolicy
from carlad.wire.types import EpisodeSettings

log = get_logger(__name__)

_MAILBOX_CAPACITY = 64
# A crash closes connections before its shim can report it, and is the better reason.
_CRASH_SPEAKS_FIRST_S = 0.3
_WORDS_KEPT = 5  # lines of a lost server's output, for its status
_RUNNING = (State.STARTING, State.READY, State.LEASED, State.SCRUBBING)


_LEVELS = {"slot.lost": log.warning, "slot.revived": log.warning, "slot.quarantined": log.error}

# What interrupts the watch over a quiet server, and the baseline that it leaves.
Errand = Callable[[Reach, Baseline], Awaitable[Baseline]]


class Notify(Protocol):
    """Tells whoever listens that something happened. Never blocks."""

    def __call__(
        self,
        event: str,
        slot: int | None = None,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: str | None = None,
    ) -> None: ...


class Plan(msgspec.Struct, frozen=True):
    """What all slots of a fleet share. `maps`: by slot, in turn."""

    backend: Backend
    outbreak: Outbreak
    host: str
    maps: tuple[str, ...]
    probe: ProbeSection
    park_after_s: float  # 0: never
    restart: RestartPolicy
    recycle: RecycleSection
    runs: Path
    log_dir: Path
    made_from: str  # tells configurations apart from which other servers would come

    def map_of(self, slot: int) -> str:
        """Empty: the one that the server starts with."""
        return self.maps[slot % len(self.maps)] if self.maps else ""


class Lease(msgspec.Struct, frozen=True):
    lease_id: str
    expected: tuple[int, str | None] | None  # incarnation and map


class Load(msgspec.Struct, frozen=True):
    map: str


class Release(msgspec.Struct, frozen=True):
    lease_id: str
    reason: str


class End(msgspec.Struct, frozen=True):
    lease_id: str
    reason: str


class Ping(msgspec.Struct, frozen=True):
    pass


SlotRequest = Lease | Load | Release | End | Ping


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
        self.maps: frozenset[str] = frozenset()  # that its servers said they have
        self._number = number
        self._plan = plan
        self._notify = notify
        self._changes = changes
        self._hurry = hurry
        self._ledger = ledger
        self._lifecycle = Lifecycle()
        self._standing = Standing(plan.restart, seed=number)
        self._wished = Changes()
        self._ports: Ports | None = None  # of this incarnation, or of the one before
        self._failed = False  # whether the last incarnation ended against our will
        self._was_ready = False  # in this incarnation
        self._ready_at = 0.0
        self._condition = Condition(number, 0, 0.0)
        self._tree: Callable[[], tuple[int, ...]] = tuple  # its server's processes
        self._life = trio.CancelScope()
        self._quiet_watch = trio.CancelScope()
        self._errand: Errand | None = None
        self._found: Found | None = None  # a server that was taken back and has no task yet
        self._made_from = plan.made_from  # its server
        self._baseline: Baseline | None = None
        self._reach: Reach | None = None
        self._tenancies = Tenancies()
        self._status = _stopped(number, plan.host)

    @property
    def status(self) -> SlotStatus:
        return self._status

    def tenancy(self, lease_id: str) -> Tenancy | None:
        """What its holder does or did with the server, as far as that is remembered."""
        return self._tenancies.of(lease_id)

    async def furnish(self, settings: EpisodeSettings) -> None:
        """For the holder of a lease that replaces another."""
        if self._reach is not None:
            with trio.move_on_after(self._plan.probe.timeout_s):
                await furnish(self._reach, settings)

    def vitals(self) -> SlotVitals | None:
        """Of its server; None where none runs."""
        if self._lifecycle.state not in _RUNNING:
            return None
        return self._condition.vitals(trio.current_time(), logs.size(self.log_path))

    def draws(self, cards: Sequence[Device]) -> None:
        """What `cards` are as they were just looked at."""
        if self._lifecycle.state in _RUNNING:
            pids = frozenset(self._tree())
            self._condition.draws(sum(card.used_by(pids) for card in cards))

    async def run(self) -> None:
        """Incarnation after incarnation, until it is to be gone or cancelled; the server is ended first."""
        self._plan.outbreak.watch(self._number, self._look_again)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.mailbox.serve, self._handle)
            try:
                if self._found is not None:
                    await self._incarnation()
                while await self._rest():
                    await self._incarnation()
            finally:
                self._halt()
            nursery.cancel_scope.cancel()

    # --- what an earlier daemon left; before `run`

    def go_on(self, record: SlotRecord | None, incarnation: int) -> None:
        """As the slot that `record` speaks of, without a server; the last incarnation had that number."""
        if record is not None:
            self._ports, self._baseline = record.ports, record.baseline
            self.maps = record.maps
            self._standing.go_on(record.wish, record.why)
            self._change(restarts=record.status.restarts, draining=self._standing.is_draining)
        self._change(incarnation=incarnation)

    def take_back(self, record: SlotRecord, found: Found) -> None:
        """Its server runs. Who held it holds it; where nobody did, it is checked and scrubbed once more."""
        self._found, was = found, record.status
        self._made_from = record.made_from
        self._ready_at = trio.current_time()
        self._condition = Condition(self._number, was.incarnation, self._ready_at)
        self._was_ready = State(was.state) is not State.STARTING
        self._enter(Event.START)
        if was.lease_id is not None:
            self._enter(Event.READY)
            self._enter(Event.LEASE)
        state, draining = self._status.state, self._status.draining
        self._change(**msgspec.structs.asdict(was) | {"state": state, "draining": draining})
        if record.made_from != self._plan.made_from:
            self._standing.outdate("its configuration has changed")
        self._tell("slot.adopted", lease_id=was.lease_id)

    def mourn(self, record: SlotRecord, why: str) -> None:
        """Its server was in a run, and ended while nobody looked."""
        self._was_ready = State(record.status.state) is not State.STARTING
        self._enter(Event.START)
        self._change(lease_id=record.status.lease_id)
        self._end(why, failed=True)

    def farewell(self) -> Put:
        """What the next daemon is to know after an orderly end: everything begins anew, on other ports."""
        stopped = _stopped(self._number, self._plan.host)
        stopped = msgspec.structs.replace(stopped, incarnation=self._status.incarnation)
        return Put(SLOT, str(self._number), SlotRecord(stopped, self._ports))

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
        self._standing.wants_up()
        self._plan.outbreak.forget(self._number)
        self._replace_when_free("it is restarted by hand")
        self._follow_wish()

    def quarantine(self, why: str) -> None:
        """Ends the server at once, whoever holds it; none is started before `restart`."""
        self._standing.quarantine(why)
        self._end(why, failed=False)
        self._follow_wish()

    def use(self, plan: Plan, *, replace: bool) -> None:
        """From now on; `replace`: another incarnation as soon as nobody holds this one."""
        if plan.probe != self._plan.probe:
            self._quiet_watch.cancel()  # and begun again with the new limits
        self._plan = plan
        self._standing.use(plan.restart)
        if replace:
            self._replace_when_free("its configuration has changed")
        self._follow_wish()

    def _replace_when_free(self, why: str) -> None:
        if self._lifecycle.state in _RUNNING:
            self._standing.outdate(why)

    def _follow_wish(self) -> None:
        if self._standing.wish is not Wish.UP:
            self._plan.outbreak.forget(self._number)
        if self._status.draining != self._standing.is_draining:
            self._change(draining=self._standing.is_draining)
            self._tell("slot.draining" if self._status.draining else "slot.undrained")
        if not self._standing.may_be_leased and self._lifecycle.state in (State.STARTING, State.READY):
            self._end(self._standing.why, failed=False)
        self._wished.mark()

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
        if self._lifecycle.state is State.READY:
            await self._wake()
        if self._lifecycle.state is not State.READY or not await self._keep_as_leased(lease_id):
            return False
        if self._lifecycle.state is State.READY:  # still
            await self._turn_strangers_away()
        if self._lifecycle.state is not State.READY:
            return False
        if expected not in (None, (self._status.incarnation, self._status.map)):
            return False
        self._condition.wear.was_leased()
        self._progress.stop()
        self._enter(Event.LEASE, lease_id=lease_id)
        self._tenancies.see(lease_id, None, is_used=True)
        self._tell("slot.leased", lease_id=lease_id)
        return True

    async def _keep_as_leased(self, lease_id: str) -> bool:
        leased = msgspec.structs.replace(self._status, state=State.LEASED.value, lease_id=lease_id)
        try:
            await self._ledger.keep(self._entry(leased))
        except JournalError as error:
            log.warning("slot.not_leased", slot=self._number, reason=error)
            return False
        finally:
            self._ledger.note(self._entry(self._status))  # until it is so
        return True

    def _load(self, wanted_map: str) -> bool:
        if self._lifecycle.state is not State.READY:
            return False
        self._count_service()
        self._enter(Event.LOAD, map=None)
        self._tell("slot.loading", reason=wanted_map)
        self._go(partial(self._load_map, wanted_map))
        return True

    def _release(self, lease_id: str, reason: str) -> bool:
        if not self._is_held_by(lease_id):
            return False
        if not self._standing.may_be_leased:
            self._end(self._standing.why, failed=False)
            return True
        self._count_service()
        self._enter(Event.SCRUB, lease_id=None)
        self._tell("slot.scrubbing", lease_id=lease_id, reason=reason)
        self._go(self._scrub_after_holder)
        return True

    def _end_lease(self, lease_id: str, reason: str) -> bool:
        if not self._is_held_by(lease_id):
            return False
        self._end(reason, failed=False)
        return True

    def _is_held_by(self, lease_id: str) -> bool:
        return self._lifecycle.state is State.LEASED and self._status.lease_id == lease_id

    def _go(self, errand: Errand) -> None:
        self._errand = errand
        self._quiet_watch.cancel()

    # --- one incarnation

    async def _incarnation(self) -> None:
        """From its start until the last of its processes has gone, for whatever reason."""
        found, self._found = self._found, None
        if found is None:
            self._begin()
        folder = self._plan.runs / run_name(self._number, self._status.incarnation)
        try:
            with trio.CancelScope() as self._life, self._a_block_of_ports(found) as ports:
                self._follow_wish()
                if self._lifecycle.state not in _RUNNING:  # it was taken back only to be ended
                    self._life.cancel()
                async with self._server(found, ports, folder) as server:
                    await self._live(server, ports)
        except ServerError as error:  # it could not be started, or something of it does not die
            self._end(str(error), failed=True)
            self._failed = True
            self._change(reason=str(error))
        finally:
            self._end("the slot stops", failed=False)  # only where nothing else ended it
            self._change(pid=None, rpc_port=None, streaming_port=None, traffic_manager_port=None, map=None)

    def _begin(self) -> None:
        self._failed = self._was_ready = False
        self._standing.is_outdated = False
        self._made_from, self._baseline = self._plan.made_from, None
        self._enter(Event.START, incarnation=self._status.incarnation + 1)
        self._condition = Condition(self._number, self._status.incarnation, trio.current_time())
        self._tell("slot.starting")

    @contextmanager
    def _a_block_of_ports(self, found: Found | None) -> Iterator[Ports]:
        """Another one than before, or where a server that was taken back listens."""
        backend, before = self._plan.backend, self._ports
        place = (
            backend.place(before, self._number)
            if found is None or before is None
            else backend.place_again(before)
        )
        with place as ports:
            self._ports = ports
            self._change(
                host=self._plan.host if ports.host == LOOPBACK else ports.host,
                rpc_port=ports.rpc,
                streaming_port=ports.streaming,
                traffic_manager_port=ports.traffic_manager,
            )
            yield ports

    @asynccontextmanager
    async def _server(self, found: Found | None, ports: Ports, folder: Path) -> AsyncIterator[Server]:
        """One that was taken back, or one that is started once the journal knows where."""
        backend = self._plan.backend
        if found is not None:
            async with backend.adopted(found, ports, folder, self._hurry) as server:
                yield server
            return
        try:
            await self._ledger.keep(self._entry(self._status), ring(ports.rpc))
        except JournalError as error:
            raise ServerError(f"cannot start a server: {error}") from error
        async with backend.running(ports, folder, self.log_path, self._hurry) as server:
            self._change(pid=server.pid)
            yield server

    async def _live(self, server: Server, ports: Ports) -> None:
        """Watches process and answers side by side; each ends the incarnation, and so both."""
        self._tree = server.tree
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_process, server, ports)
                nursery.start_soon(self._watch_answers, server, ports)
                nursery.start_soon(watch_usage, server.tree, self._plan.recycle.period_s, self._weigh)
        finally:
            self._end("the slot stops", failed=False)

    async def _watch_process(self, server: Server, ports: Ports) -> None:
        kills = kernel_kills()
        how = await server.ended()
        words = await trio.to_thread.run_sync(logs.last_words, self.log_path)
        verdict = autopsy(how, words, out_of_memory=kernel_kills() > kills)
        if self._lifecycle.state is State.STARTING:
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
        worn = self._condition.worn(self._plan.recycle, trio.current_time())
        if worn is not None and not self._standing.is_outdated:
            self._replace_when_free(f"it is recycled: {worn}")
            self._follow_wish()

    async def _watch_answers(self, server: Server, ports: Ports) -> None:
        try:
            reach = self._reach = Reach(ports)
            self._parking = Parking(reach)
            self._progress = Progress(reach)
            self._visitors = Visitors(reach, server.tree)
            if self._lifecycle.state is State.STARTING:  # and not held by somebody all the while
                await self._check(reach, server)
            while True:
                with trio.CancelScope() as self._quiet_watch:
                    await stay_alive(reach, server.tree, self._plan.probe, self)
                if self._errand is None:
                    continue  # other limits
                errand, self._errand = self._errand, None
                await self._parking.wake()
                assert self._baseline is not None
                self._baseline = await errand(reach, self._baseline)
                self._become_ready(map=self._baseline.map)
        except probe.UnfitError as error:
            self.quarantine(str(error))
        except ServerError as error:
            await trio.sleep(_CRASH_SPEAKS_FIRST_S)
            self._end(str(error), failed=True)

    async def _check(self, reach: Reach, server: Server) -> None:
        """One that was taken back is scrubbed, too: nobody looked for a while."""
        known, wanted_map = self._baseline, self._plan.map_of(self._number) if self._baseline is None else ""
        checked = await probe.check_start(reach, server.listener, wanted_map, self._plan.probe)
        self.maps = checked.maps
        if known is None:
            self._baseline = await self._record(reach, checked.map)
            await self._visitors.look()  # who was there before, and is not any more, did no harm
        else:
            self._baseline = await self._scrub_after_holder(reach, known)
        self._become_ready(map=self._baseline.map, pid=checked.pid)

    async def _load_map(self, wanted_map: str, reach: Reach, _baseline: Baseline) -> Baseline:
        loaded = await probe.load_map(reach, wanted_map, self._plan.probe.load_max_s)
        self._condition.wear.loaded_a_map()
        return await self._record(reach, loaded)

    async def _record(self, reach: Reach, map: str) -> Baseline:
        with trio.move_on_after(self._plan.probe.timeout_s * self._plan.probe.failures):
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
        return await scrub(reach, self._visitors, baseline, self._plan.probe.load_max_s)

    # --- what the watch over a quiet server hears

    async def heard(self, settings: EpisodeSettings | None, after_s: float) -> None:
        self._condition.answered(after_s)
        if self._lifecycle.state is State.READY:
            await self._turn_strangers_away()
            await self._look_for_progress()
        elif (lease_id := self._status.lease_id) is not None:
            came = await self._visitors.came()
            can_see = self._reach is not None and self._reach.ports.host == LOOPBACK
            self._tenancies.see(lease_id, settings, is_used=bool(came) or not can_see)
        if settings is not None and self._lifecycle.state is State.READY:
            await self._park_if_idle(settings)

    async def _look_for_progress(self) -> None:
        missing = await self._progress.is_missing(self._plan.probe.timeout_s)
        if missing and self._lifecycle.state is State.READY:
            self._end("it answers, but its world does not tick", failed=True)

    async def _park_if_idle(self, settings: EpisodeSettings) -> None:
        park_after_s = self._plan.park_after_s
        idle_s = trio.current_time() - self._ready_at
        if park_after_s and idle_s >= park_after_s and not self._parking.is_parked:
            await self._parking.park(settings)
            self._tell("slot.parked")

    async def _wake(self) -> None:
        try:
            await self._parking.wake()
        except ServerError as error:
            self._end(str(error), failed=True)

    def revived(self) -> None:
        self._tell("slot.revived", lease_id=self._status.lease_id)

    async def _turn_strangers_away(self) -> None:
        """A server at which somebody has been since it was scrubbed is nobody's to lease."""
        came = await self._visitors.came()
        if not came:
            return
        who, port = await one_of(came)
        reason = f"{who}, a stranger, was connected to port {port}"
        if self._lifecycle.state is not State.READY:
            return
        self._count_service()
        self._enter(Event.SCRUB)
        self._tell("slot.scrubbing", reason=reason)
        self._go(self._scrub)

    def _become_ready(self, **changes: object) -> None:
        self._recycle_if_worn()
        self._enter(Event.READY, **changes)
        self._was_ready = True
        self._plan.outbreak.started()
        self._ready_at = trio.current_time()
        self._tell("slot.ready")
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
        if self._lifecycle.state not in _RUNNING:
            return
        if self._lifecycle.state in (State.READY, State.LEASED):
            self._count_service()
        lease_id = self._status.lease_id
        self._failed = failed
        self._enter(Event.END, lease_id=None, reason=reason)
        if failed:
            self._change(cause=cause and cause.value, last_words=last_words)
        self._tell("slot.lost" if failed else "slot.stopping", lease_id=lease_id, reason=reason, cause=cause)
        self._life.cancel()

    def _count_service(self) -> None:
        self._standing.ran(trio.current_time() - self._ready_at)

    # --- between two incarnations

    async def _rest(self) -> bool:
        """Until the next start is due, at once if nothing speaks against it. False: none ever is."""
        self._wished = Changes()
        if self._failed and self._standing.wish is Wish.UP:
            await self._back_off()
        while self._standing.wish is not Wish.UP:
            if self._standing.wish is Wish.QUARANTINED:
                self._lie_in_quarantine()
            else:
                self._halt()
            if self._standing.wish is Wish.GONE:
                return False
            await self._wished.wait()
        return True

    async def _back_off(self) -> None:
        backoff_s = self._standing.failed(self._status.reason)
        if not self._was_ready and self._plan.backend.shares_fate:
            self._plan.outbreak.failed(self._number, self._status.reason or "")
        if backoff_s is None:
            self._plan.outbreak.gave_up(self._number, self._standing.why)
            return
        self._enter(Event.BACK_OFF, restarts=self._status.restarts + 1)
        self._tell("slot.backoff", reason=f"next start in {backoff_s:.1f} s")
        with trio.move_on_after(backoff_s):
            await self._wished.wait()
        await self._let_the_scout_try()

    async def _let_the_scout_try(self) -> None:
        """While several slots cannot start for one reason."""
        outbreak, reason = self._plan.outbreak, self._status.reason
        while self._standing.wish is Wish.UP and (scout := outbreak.scout_of(self._number)) is not None:
            if outbreak.given_up is not None:
                self._standing.quarantine(f"as slot {scout}: {outbreak.given_up}")
                return
            self._change(reason=f"waits while slot {scout}, which fails alike, tries: {reason}")
            await self._wished.wait()

    def _look_again(self) -> None:
        self._wished.mark()

    def _lie_in_quarantine(self) -> None:
        if self._lifecycle.state is not State.QUARANTINED:
            self._enter(Event.QUARANTINE, reason=self._standing.why)
            self._tell("slot.quarantined", reason=self._standing.why)

    def _halt(self) -> None:
        if self._lifecycle.state is not State.STOPPED:
            self._enter(Event.HALT)
            self._tell("slot.stopped", reason=self._status.reason)

    # --- state

    def _enter(self, event: Event, **changes: object) -> None:
        self._change(state=self._lifecycle.advance(event).value, **changes)

    def _change(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        self._changes.mark()
        self._ledger.note(self._entry(self._status))

    def _entry(self, status: SlotStatus) -> Put:
        record = SlotRecord(
            status=status,
            ports=self._ports,
            baseline=self._baseline,
            maps=self.maps,
            wish=self._standing.wish,
            why=self._standing.why,
            made_from=self._made_from,
        )
        return Put(SLOT, str(self._number), record)

    def _tell(
        self,
        event: str,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        level = _LEVELS.get(event, log.info)
        now = self._status
        level(
            event,
            slot=now.slot,
            incarnation=now.incarnation,
            rpc_port=now.rpc_port,
            lease_id=lease_id,
            reason=reason,
        )
        named = cause and cause.value
        self._notify(event, slot=self._number, lease_id=lease_id, reason=reason, cause=named)


def _stopped(number: int, host: str) -> SlotStatus:
    """Of a slot that has never run."""
    return SlotStatus(
        slot=number,
        state=State.STOPPED.value,
        incarnation=0,
        pid=None,
        host=host,
        rpc_port=None,
        streaming_port=None,
        traffic_manager_port=None,
        map=None,
        lease_id=None,
        restarts=0,
        reason=None,
    )
