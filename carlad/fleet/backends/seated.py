"""Servers that draw: each started on a graphics card that has room for it, and seen to be there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from pathlib import Path

import msgspec
import trio

from carlad.config import GpuSection
from carlad.fleet.backends.aim import Aim, Ticket
from carlad.fleet.backends.interface import Backend, Found, Launch, Launcher, Server
from carlad.fleet.backends.watched import Watched, freed
from carlad.fleet.gpu.cards import Cards, NoCardsError, Pids
from carlad.fleet.gpu.devices import MIB, cpus_near
from carlad.fleet.ports import Ports
from carlad.log import get_logger
from carlad.runtime import RestartPolicy

log = get_logger(__name__)

_TICKET = "card.json"  # in the run folder: for the next daemon


class Seated:
    """A backend around the one that `inner` makes of a launcher. Without cards it is that one."""

    shares_fate = True

    def __init__(
        self, inner: Callable[[Launcher], Backend], launch: Launcher, aim: Aim, cards: Cards, gpu: GpuSection
    ) -> None:
        self._inner = inner(self._aimed)
        self._launch = launch
        self._aim = aim
        self._cards = cards
        self._gpu = gpu
        self._tickets: dict[Ports, Ticket] = {}

    def _aimed(self, ports: Ports) -> Launch:
        launch, ticket = self._launch(ports), self._tickets.get(ports)
        return launch if ticket is None else self._aim(launch, ticket)

    def policy(self, configured: RestartPolicy) -> RestartPolicy:
        return self._inner.policy(configured)

    def place(self, previous: Ports | None, slot: int = 0) -> AbstractContextManager[Ports]:
        return self._inner.place(previous, slot)

    def place_again(self, ports: Ports) -> AbstractContextManager[Ports]:
        return self._inner.place_again(ports)

    async def find(self, ports: Ports, folder: Path) -> Found:
        return await self._inner.find(ports, folder)

    async def clear(self, keep: Collection[Ports]) -> None:
        await self._inner.clear(keep)

    @asynccontextmanager
    async def running(
        self, ports: Ports, folder: Path, log_path: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        pids = _Pids()
        async with AsyncExitStack() as stack:
            ticket = await self._take_ticket(stack, ports, pids)
            inner = self._inner.running(ports, folder, log_path, hurry)
            if ticket is None:
                yield await stack.enter_async_context(inner)
                return
            async with self._watched(inner, ticket, pids) as server:
                (folder / _TICKET).write_bytes(msgspec.json.encode(ticket))
                yield server

    @asynccontextmanager
    async def adopted(
        self, found: Found, ports: Ports, folder: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        """On the seat that it had; its folder does not tell of one where there was no card to look at."""
        ticket, pids = _ticket_in(folder), _Pids()
        inner = self._inner.adopted(found, ports, folder, hurry)
        if ticket is None:
            async with inner as server:
                yield server
            return
        with self._cards.same_seat(ticket.seat, pids):
            async with self._watched(inner, ticket, pids) as watched:
                yield watched

    @asynccontextmanager
    async def _watched(
        self, inner: AbstractAsyncContextManager[Server], ticket: Ticket, pids: _Pids
    ) -> AsyncIterator[Server]:
        """At the end of the block its memory is free again. Raises ServerError where it is not."""
        try:
            async with inner as server:
                pids.server = server
                watched = Watched(server, ticket, self._cards, pids)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watched.settle)
                    try:
                        yield watched
                    finally:
                        pids()
                        nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await freed(self._cards, pids.seen)

    async def _take_ticket(self, stack: AsyncExitStack, ports: Ports, pids: Pids) -> Ticket | None:
        need_bytes = self._gpu.memory_mib * MIB
        try:
            seat = await stack.enter_async_context(self._cards.seat(self._gpu.devices, need_bytes, pids))
            ticket = Ticket(seat, await self._cards.adapter(seat.pci), cpus_near(seat.pci))
        except NoCardsError as error:
            log.info("gpu.none", reason=error)
            return None
        self._tickets[ports] = ticket
        stack.callback(self._tickets.pop, ports)
        log.info("gpu.seat", rpc_port=ports.rpc, card=str(seat.pci), adapter=ticket.adapter)
        return ticket


class _Pids:
    """A server's processes; none until there is a server. `seen`: those that were there when asked, for
    who looks for what they left."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.seen: frozenset[int] = frozenset()

    def __call__(self) -> tuple[int, ...]:
        now = () if self.server is None else self.server.tree()
        self.seen |= frozenset(now)
        return now


def _ticket_in(folder: Path) -> Ticket | None:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / _TICKET).read_bytes(), type=Ticket)
    return None
