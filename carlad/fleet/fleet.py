"""All slots of this machine, as the broker sees them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import trio

from carlad.config import Config
from carlad.errors import ServerError
from carlad.fleet import logs
from carlad.fleet.adoption import Lost, last_incarnation, take_back
from carlad.fleet.backends.choice import advice, choose, for_servers
from carlad.fleet.backends.interface import Launcher
from carlad.fleet.gpu.cards import Cards, NoCardsError
from carlad.fleet.ledger import Ledger
from carlad.fleet.leftovers import end_leftovers
from carlad.fleet.logs import Excerpt
from carlad.fleet.looks import Looks
from carlad.fleet.outbreak import Outbreak
from carlad.fleet.plan import Plan, plan_of
from carlad.fleet.ports import PortRegistry
from carlad.fleet.records import RING, SLOT, Ring, SlotRecord
from carlad.fleet.requests import End, Lease, Load, Ping, Release, SlotRequest
from carlad.fleet.situation import Notify
from carlad.fleet.slot import Slot
from carlad.fleet.tenancy import Tenancy
from carlad.journal import Delete, Journal, JournalError
from carlad.log import get_logger
from carlad.messages import SlotStatus, SlotVitals
from carlad.runtime import Changes, NoAnswerError, RestartPolicy, supervise

log = get_logger(__name__)

# For slots' own failures, which are faults of carlad: servers' failures are the slots' business.
_SLOT_POLICY = RestartPolicy(backoff_s=0.5, backoff_max_s=5.0, restarts_max=5, period_s=60.0)

_LEFTOVERS_END_S = 60.0  # at most; an engine that hangs may take for ever
_DEPARTED_KEPT = 16  # slots: whoever lost one's server gets another one with its settings
_CARDS_AGAIN_S = 15.0  # leaks are slow
_NO_CARDS_AGAIN_S = 600.0


class Fleet:
    """Slots are numbered from 0. Its one waiter on `changes` is the broker."""

    def __init__(
        self,
        config: Config,
        runs: Path,
        journal: Journal,
        notify: Notify,
        environ: Mapping[str, str] = os.environ,
        launch: Launcher | None = None,
    ) -> None:
        """`runs` is from `state_directory`; `launch` replaces the configured backend.

        Raises ConfigError where the backend cannot be used.
        """
        self.changes = Changes()
        self._runs = runs
        self._journal = journal
        self._ledger = Ledger(journal)
        self._ledger_ends = trio.CancelScope()
        self._kept: tuple[SlotRecord, ...] = ()  # whose servers were taken back
        self._others: frozenset[Path] = frozenset()
        self._notify = notify
        self._hurry = trio.Event()
        self._config = config
        self._environ = environ
        self._launch = launch
        self._outbreak = Outbreak()
        self._looks = Looks()
        self._cards = Cards(for_servers(environ))
        self._registry = PortRegistry(*config.fleet.ports)
        self._plan = self._plan_of(config, self._registry)
        self._advise()
        self._slots: dict[int, Slot] = {}
        self._departed: deque[Slot] = deque(maxlen=_DEPARTED_KEPT)
        self._nursery: trio.Nursery | None = None
        for number in range(config.fleet.size):
            self._add(number)

    def statuses(self) -> tuple[SlotStatus, ...]:
        """Of all slots, by number: current and immutable."""
        return tuple(slot.status for slot in self._slots.values())

    def vitals(self) -> tuple[SlotVitals, ...]:
        """Of the slots that have a server, by number."""
        return tuple(found for slot in self._slots.values() if (found := slot.vitals()) is not None)

    def maps(self) -> dict[int, frozenset[str]]:
        """By slot: short names of the maps that its servers said they have; empty until one was READY."""
        return {slot.status.slot: slot.maps for slot in self._slots.values()}

    async def lease(
        self,
        slot: int,
        lease_id: str,
        expected: tuple[int, str | None] | None = None,
        furnished_as: str | None = None,
    ) -> bool:
        """READY → LEASED; False where it is not READY any more, or not in the `expected` incarnation and
        with the expected map. With the settings that the server of the lease `furnished_as` had last, as far
        as they were seen."""
        if not await self._ask(slot, Lease(lease_id, expected)):
            return False
        lost = self._tenancy(furnished_as) if furnished_as is not None else None
        if lost is not None and lost.settings is not None:
            await self._slots[slot].furnish(lost.settings)
        return True

    def idle_s(self, lease_id: str) -> float | None:
        """How long nobody was connected to the server of a lease; None where that is not known."""
        tenancy = self._tenancy(lease_id)
        return None if tenancy is None else tenancy.idle_s

    def _tenancy(self, lease_id: str) -> Tenancy | None:
        found = (slot.tenancy(lease_id) for slot in (*self._slots.values(), *self._departed))
        return next((tenancy for tenancy in found if tenancy is not None), None)

    async def load(self, slot: int, map: str) -> bool:
        """READY → STARTING → READY with `map`, or another incarnation where that fails.

        Returns as soon as the slot has begun; False where it was not READY.
        """
        return await self._ask(slot, Load(map))

    async def release(self, slot: int, lease_id: str, reason: str) -> None:
        """Takes the server from a holder who gave it back: LEASED → SCRUBBING → READY, the same incarnation.

        Where it cannot be scrubbed it is ended. Returns when the slot is SCRUBBING or STOPPING; nothing
        happens where this lease does not hold it.
        """
        await self._ask(slot, Release(lease_id, reason))

    async def end(self, slot: int, lease_id: str, reason: str) -> None:
        """Takes the server from its holder and ends it; the next incarnation has other ports.

        Returns when the slot is STOPPING; nothing happens where this lease does not hold it.
        """
        await self._ask(slot, End(lease_id, reason))

    async def log(self, slot: int, lines: int, after: str | None = None) -> Excerpt:
        """The newest lines that servers of `slot` wrote, or the next ones after a place, across rotation."""
        path = self._slots[slot].log_path
        if after is None:
            return await trio.to_thread.run_sync(logs.newest, path, lines)
        return await trio.to_thread.run_sync(logs.since, path, after, lines)

    async def ping(self) -> None:
        """Returns when every slot's mailbox has answered."""
        async with trio.open_nursery() as nursery:
            for slot in self._slots.values():
                nursery.start_soon(slot.mailbox.ask, Ping())

    # --- what the operator wants; slots that are not there are programmers' errors

    def drain(self, slot: int) -> None:
        self._slots[slot].drain()

    def undrain(self, slot: int) -> None:
        self._slots[slot].undrain()

    def restart(self, slot: int) -> None:
        self._slots[slot].restart()

    def quarantine(self, slot: int, why: str) -> None:
        self._slots[slot].quarantine(why)

    async def keep(self) -> None:
        """What was asked for so far is on disk when this returns. Raises JournalError."""
        await self._ledger.keep()

    def use(self, config: Config) -> None:
        """From now on. Slots whose servers would be made otherwise now get others as soon as nobody holds
        their own.

        New slots start at once; surplus ones, the last, leave as soon as nobody holds them. Raises
        ConfigError where the backend cannot be used; nothing has changed then.
        """
        same_ports = config.fleet.ports == self._config.fleet.ports
        registry = self._registry if same_ports else PortRegistry(*config.fleet.ports)
        plan = self._plan_of(config, registry)
        advised = advice(self._config.fleet, self._environ)
        self._config, self._registry, self._plan = config, registry, plan
        self._advise(advised)
        for slot in self._slots.values():
            slot.use(plan)
        self._scale(config.fleet.size)

    def _scale(self, size: int) -> None:
        for number, slot in self._slots.items():
            if number >= size:
                slot.leave()
            elif slot.is_leaving:
                slot.undrain()
        for number in range(size):
            if number not in self._slots:
                self._add(number)

    def hasten(self) -> None:
        """From now on servers are killed without a grace after TERM, those that end already included."""
        self._hurry.set()

    async def adopt(self, keep: Collection[Path] = ()) -> None:
        """Takes back what an earlier daemon left running; once, before `run`. What slots say is true then.

        Whatever cannot be vouched for is ended by `run`, but for the run folders to `keep`, which are
        other units'.
        """
        self._others = frozenset(keep)
        records, folders = self._read(), [folder.name for folder in self._runs.iterdir()]
        fates = await take_back(records, self._runs, self._plan.backend.find)
        for number in fates.keys() - self._slots.keys():
            self._add(number)
        for number, slot in self._slots.items():
            record = records.get(number)
            slot.go_on(record, last_incarnation(number, record, folders))
            fate = fates.get(number)
            if record is None or fate is None:
                continue
            if isinstance(fate, Lost):
                slot.mourn(record, fate.why)
            else:
                slot.take_back(record, fate)
                self._kept += (record,)
        self._scale(self._config.fleet.size)

    def _read(self) -> dict[int, SlotRecord]:
        try:
            for last in self._journal.read(RING, Ring).values():
                self._registry.go_on_after(last.rpc_port)
            return {record.status.slot: record for record in self._journal.read(SLOT, SlotRecord).values()}
        except JournalError as error:
            log.error("journal.unreadable", reason=error)  # noqa: TRY400 a traceback would help nobody
            return {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs all slots until cancelled; then it ends all servers, which takes seconds at most.

        What a daemon that was killed left running, and `adopt` did not take back, is ended before any other
        server is started. Raises RestartsExhaustedError where a slot itself fails.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_ledger)
                try:
                    async with trio.open_nursery() as self._nursery:
                        self._nursery.start_soon(trio.sleep_forever)  # a fleet may have no slot for a while
                        self._nursery.start_soon(self._watch_cards)
                        task_status.started()
                        await self._run_slots(self._nursery)
                finally:
                    self._ledger_ends.cancel()
        finally:
            self._nursery = None
            for slot in self._slots.values():
                slot.mailbox.close()

    async def _watch_cards(self) -> None:
        """One look for all slots: it costs a process."""
        while self._cards.can_be_looked_at:
            try:
                cards, again_s = await self._cards.devices(), _CARDS_AGAIN_S
            except NoCardsError:
                cards, again_s = [], _NO_CARDS_AGAIN_S
            if cards:
                for slot in self._slots.values():
                    slot.draws(cards)
            await trio.sleep(again_s)

    async def _keep_ledger(self) -> None:
        """Until the last server has ended, and not only until that is ordered."""
        with trio.CancelScope(shield=True) as self._ledger_ends:
            await self._ledger.run()
        with trio.CancelScope(shield=True):
            try:
                await self._ledger.keep(*(slot.farewell() for slot in self._slots.values()))
            except JournalError as error:
                log.error("journal.failed", reason=error)  # noqa: TRY400 a traceback would help nobody

    async def _run_slots(self, nursery: trio.Nursery) -> None:
        """Those with a server first: nobody looks after it until then."""
        adopted = {record.status.slot for record in self._kept}
        others = self._slots.keys() - adopted  # more may come, and begin by themselves
        for number in adopted:
            nursery.start_soon(self._keep, number)
        await self._end_leftovers()
        for number in others:
            nursery.start_soon(self._keep, number)

    async def _end_leftovers(self) -> None:
        """To its end: whoever stops us meanwhile wants nothing left either."""
        own = {self._runs / record.folder for record in self._kept}
        ports = [record.ports for record in self._kept if record.ports is not None]
        with trio.move_on_after(_LEFTOVERS_END_S, shield=True) as scope:
            try:
                await end_leftovers(self._runs, keep=self._others | own)
                await self._plan.backend.clear(keep=ports)
            except ServerError as error:
                log.error("leftover.stays", reason=error)  # noqa: TRY400 a traceback would help nobody
        if scope.cancelled_caught:
            log.error("leftover.stays", reason=f"it has not ended within {_LEFTOVERS_END_S:g} s")

    def _plan_of(self, config: Config, registry: PortRegistry) -> Plan:
        backend = choose(config, self._environ, registry, str(self._runs), self._launch, self._cards)
        return plan_of(config, backend, self._outbreak, self._looks, self._hurry, self._runs)

    def _advise(self, before: Sequence[str] = ()) -> None:
        """Of what was not said `before`."""
        for sentence in () if self._launch else advice(self._config.fleet, self._environ):
            if sentence not in before:
                log.warning("config.advice", reason=sentence)

    def _add(self, number: int) -> None:
        slot = Slot(number, self._plan, self._notify, self.changes, self._ledger)
        self._slots = dict(sorted([*self._slots.items(), (number, slot)]))
        self.changes.mark()
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, number)

    async def _keep(self, number: int) -> None:
        """Until the slot leaves the fleet."""
        slot = self._slots[number]
        await supervise(slot.run, _SLOT_POLICY, f"slot {number}")
        slot.mailbox.close()
        del self._slots[number]
        self._departed.append(slot)
        log.info("slot.left", slot=number)
        self._notify("slot.left", slot=number)
        self._ledger.note(Delete(SLOT, str(number)))
        self.changes.mark()

    async def _ask(self, slot: int, request: SlotRequest) -> bool:
        try:
            return slot in self._slots and await self._slots[slot].mailbox.ask(request)
        except NoAnswerError:  # the slot failed, or left, and its server with it
            return False
