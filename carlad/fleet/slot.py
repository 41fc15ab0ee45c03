"""A permanent place for a server: the unit that starts, checks, lends, ends and restarts it.

Two tasks touch a slot's state: the mailbox's, for what other units ask, and the life's, for what happens
to the server. Neither awaits between looking and changing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

import msgspec
import trio

from carlad.config import ProbeSection
from carlad.errors import ServerError
from carlad.fleet import logs, probe
from carlad.fleet.backends.interface import Backend, Server
from carlad.fleet.lifecycle import Event, Lifecycle, State
from carlad.fleet.ports import Ports
from carlad.log import get_logger
from carlad.messages import SlotStatus
from carlad.runtime import Changes, Mailbox, RestartPolicy, Restarts

log = get_logger(__name__)

_MAILBOX_CAPACITY = 64
# A crash closes connections before its shim can report it, and is the better reason.
_CRASH_SPEAKS_FIRST_S = 0.1


class Notify(Protocol):
    """Tells whoever listens that something happened. Never blocks."""

    def __call__(
        self, event: str, slot: int | None = None, lease_id: str | None = None, reason: str | None = None
    ) -> None: ...


class Plan(msgspec.Struct, frozen=True):
    """What all slots of a fleet share. `map` empty: the one that the server starts with."""

    backend: Backend
    host: str
    map: str
    probe: ProbeSection
    restart: RestartPolicy
    runs: Path
    log_dir: Path


class Lease(msgspec.Struct, frozen=True):
    lease_id: str


class Load(msgspec.Struct, frozen=True):
    map: str


class End(msgspec.Struct, frozen=True):
    lease_id: str
    reason: str


class Ping(msgspec.Struct, frozen=True):
    pass


SlotRequest = Lease | Load | End | Ping


class Slot:
    def __init__(
        self,
        number: int,
        plan: Plan,
        notify: Notify,
        changes: Changes,
        hurry: trio.Event,
    ) -> None:
        self.mailbox = Mailbox[SlotRequest, bool](_MAILBOX_CAPACITY)
        self.log_path = logs.log_path(plan.log_dir, number)
        self.maps: frozenset[str] = frozenset()  # that its servers said they have
        self._number = number
        self._plan = plan
        self._notify = notify
        self._changes = changes
        self._hurry = hurry
        self._lifecycle = Lifecycle()
        self._restarts = Restarts(plan.restart, Random(number))
        self._ports: Ports | None = None  # of this incarnation, or of the one before
        self._failed = False  # whether the last incarnation ended against our will
        self._ready_at = 0.0
        self._life = trio.CancelScope()
        self._quiet_watch = trio.CancelScope()
        self._wanted_map = ""
        self._status = _stopped(number, plan.host)

    @property
    def status(self) -> SlotStatus:
        return self._status

    async def run(self) -> None:
        """Incarnation after incarnation until cancelled; then the server is ended first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.mailbox.serve, self._handle)
            try:
                while True:
                    await self._incarnation()
                    await self._pause()
            finally:
                self._enter(Event.HALT)

    # --- what others ask

    async def _handle(self, request: SlotRequest) -> bool:
        if isinstance(request, Lease):
            return self._lease(request.lease_id)
        if isinstance(request, Load):
            return self._load(request.map)
        if isinstance(request, End):
            return self._end_lease(request.lease_id, request.reason)
        return True

    def _lease(self, lease_id: str) -> bool:
        if self._lifecycle.state is not State.READY:
            return False
        self._enter(Event.LEASE, lease_id=lease_id)
        self._tell("slot.leased", lease_id=lease_id)
        return True

    def _load(self, wanted_map: str) -> bool:
        if self._lifecycle.state is not State.READY:
            return False
        self._count_service()
        self._enter(Event.LOAD, map=None)
        self._wanted_map = wanted_map
        self._quiet_watch.cancel()
        return True

    def _end_lease(self, lease_id: str, reason: str) -> bool:
        if self._lifecycle.state is not State.LEASED or self._status.lease_id != lease_id:
            return False
        self._end(reason, failed=False)
        return True

    # --- one incarnation

    async def _incarnation(self) -> None:
        """From its start until the last of its processes has gone, for whatever reason."""
        self._begin()
        try:
            with trio.CancelScope() as self._life, self._a_block_of_ports() as ports:
                folder = self._plan.runs / f"{self._number}-{self._status.incarnation}"
                async with self._plan.backend.running(ports, folder, self.log_path, self._hurry) as server:
                    await self._live(server, ports)
        except ServerError as error:  # it could not be started, or something of it does not die
            self._end(str(error), failed=True)
            self._failed = True
            self._change(reason=str(error))
        finally:
            self._end("the slot stops", failed=False)  # only where nothing else ended it
            self._change(pid=None, rpc_port=None, streaming_port=None, traffic_manager_port=None, map=None)

    def _begin(self) -> None:
        self._failed = False
        self._enter(Event.START, incarnation=self._status.incarnation + 1)
        self._tell("slot.starting")

    @contextmanager
    def _a_block_of_ports(self) -> Iterator[Ports]:
        with self._plan.backend.place(self._ports) as ports:
            self._ports = ports
            self._change(
                rpc_port=ports.rpc, streaming_port=ports.streaming, traffic_manager_port=ports.traffic_manager
            )
            yield ports

    async def _live(self, server: Server, ports: Ports) -> None:
        """Watches process and answers side by side; each ends the incarnation, and so both."""
        self._change(pid=server.pid)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_process, server, ports)
                nursery.start_soon(self._watch_answers, server, ports)
        finally:
            self._end("the slot stops", failed=False)

    async def _watch_process(self, server: Server, ports: Ports) -> None:
        how = await server.ended()
        if self._lifecycle.state is State.STARTING:
            how = f"{how} while it started; {await self._why_it_did_not_start(server, ports)}"
        self._end(how, failed=True)

    async def _why_it_did_not_start(self, server: Server, ports: Ports) -> str:
        """CARLA does not say that a port is in use: it crashes (carla-simulator/carla issue 3062)."""
        try:
            await trio.to_thread.run_sync(server.listener, ports)
        except ServerError as stranger:
            return str(stranger)
        return f"its log ends: {' '.join(logs.tail(self.log_path, 1))[:200]}"

    async def _watch_answers(self, server: Server, ports: Ports) -> None:
        try:
            checked = await probe.check_start(ports, server.listener, self._plan.map, self._plan.probe)
            self.maps = checked.maps
            self._become_ready(map=checked.map, pid=checked.pid)
            while True:
                with trio.CancelScope() as self._quiet_watch:
                    await probe.stay_alive(ports, server.tree, self._plan.probe)
                loaded = await probe.load_map(ports, self._wanted_map, self._plan.probe.load_max_s)
                self._become_ready(map=loaded)
        except ServerError as error:
            await trio.sleep(_CRASH_SPEAKS_FIRST_S)
            self._end(str(error), failed=True)

    def _become_ready(self, **changes: object) -> None:
        self._enter(Event.READY, **changes)
        self._ready_at = trio.current_time()
        self._tell("slot.ready")

    def _end(self, reason: str, *, failed: bool) -> None:
        """The first reason counts. The lease ends here; the processes end behind the cancelled life."""
        if self._lifecycle.state not in (State.STARTING, State.READY, State.LEASED):
            return
        if self._lifecycle.state is not State.STARTING:
            self._count_service()
        lease_id = self._status.lease_id
        self._failed = failed
        self._enter(Event.END, lease_id=None, reason=reason)
        self._tell("slot.lost" if failed else "slot.stopping", lease_id=lease_id, reason=reason)
        self._life.cancel()

    def _count_service(self) -> None:
        self._restarts.ran(trio.current_time() - self._ready_at)

    # --- between two incarnations

    async def _pause(self) -> None:
        if not self._failed:
            return
        backoff_s = self._restarts.failed()
        if backoff_s is None:
            self._enter(Event.QUARANTINE, reason=f"failed too often, lastly: {self._status.reason}")
            self._tell("slot.quarantined", reason=self._status.reason)
            await trio.sleep_forever()
            return
        self._enter(Event.BACK_OFF, restarts=self._status.restarts + 1)
        self._tell("slot.backoff", reason=f"next start in {backoff_s:.1f} s")
        await trio.sleep(backoff_s)

    # --- state

    def _enter(self, event: Event, **changes: object) -> None:
        self._change(state=self._lifecycle.advance(event).value, **changes)

    def _change(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        self._changes.mark()

    def _tell(self, event: str, lease_id: str | None = None, reason: str | None = None) -> None:
        level = {"slot.lost": log.warning, "slot.quarantined": log.error}.get(event, log.info)
        now = self._status
        level(
            event,
            slot=now.slot,
            incarnation=now.incarnation,
            rpc_port=now.rpc_port,
            lease_id=lease_id,
            reason=reason,
        )
        self._notify(event, slot=self._number, lease_id=lease_id, reason=reason)


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
