"""Servers that draw: each started on a graphics card that has room for it, and seen to be there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from pathlib import Path

import trio

from carlad.config import GpuSection
from carlad.fleet.backends.aim import Aim, Ticket
from carlad.fleet.backends.interface import Backend, Found, Launch, Launcher, Server, Serving
from carlad.fleet.gpu.cards import Cards, NoCardsError, Pids
from carlad.fleet.gpu.devices import MIB, PciBus, cpus_near
from carlad.fleet.gpu.placement import renders_on
from carlad.fleet.ports import Ports
from carlad.log import get_logger
from carlad.runtime import RestartPolicy

log = get_logger(__name__)

_RENDERS_BYTES = 64 * MIB  # less than any server that draws takes, more than one leaves on a card beside
_LOOK_AGAIN_S = 1.0
_SEEN_MAX_S = 10.0  # after it listens; what is not seen then cannot be seen, as in another pid namespace


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

    def adopted(
        self, found: Found, ports: Ports, folder: Path, hurry: trio.Event
    ) -> AbstractAsyncContextManager[Server]:
        """Without a seat: it has its memory already, which is not free any more."""
        return self._inner.adopted(found, ports, folder, hurry)

    async def clear(self, keep: Collection[Ports]) -> None:
        await self._inner.clear(keep)

    @asynccontextmanager
    async def running(
        self, ports: Ports, folder: Path, log_path: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        pids: list[Callable[[], tuple[int, ...]]] = []  # empty until there is a server
        async with AsyncExitStack() as stack:
            ticket = await self._take_ticket(stack, ports, lambda: pids[0]() if pids else ())
            server = await stack.enter_async_context(self._inner.running(ports, folder, log_path, hurry))
            pids.append(server.tree)
            if ticket is None:
                yield server
                return
            async with trio.open_nursery() as nursery:
                watched = Watched(server, ticket, self._cards)
                nursery.start_soon(watched.settle)
                yield watched
                nursery.cancel_scope.cancel()

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


class Watched:
    """A server that is not said to serve before it was seen to draw where it should."""

    def __init__(self, server: Server, ticket: Ticket, cards: Cards) -> None:
        self._server = server
        self._ticket = ticket
        self._cards = cards
        self._listens = False
        self._settled = False
        self._misplaced = trio.Event()
        self._why = ""

    @property
    def pid(self) -> int | None:
        return self._server.pid

    def tree(self) -> tuple[int, ...]:
        return self._server.tree()

    def ran_out_of_memory(self) -> bool:
        return self._server.ran_out_of_memory()

    def listener(self, ports: Ports) -> Serving | None:
        serving = self._server.listener(ports)
        self._listens = serving is not None
        return serving if self._settled else None

    async def ended(self) -> str:
        """Also where it draws on another card."""
        how = ""

        async def until(wait: Callable[[], Awaitable[object]]) -> None:
            nonlocal how
            how = str(await wait() or self._why)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until, self._server.ended)
            nursery.start_soon(until, self._misplaced.wait)
        return how

    async def settle(self) -> None:
        """Returns once it was seen on a card, or cannot be."""
        listened_for_s = 0.0
        while listened_for_s < _SEEN_MAX_S:
            await trio.sleep(_LOOK_AGAIN_S)
            listened_for_s += _LOOK_AGAIN_S if self._listens else 0.0
            try:
                found = renders_on(await self._cards.devices(), frozenset(self.tree()), _RENDERS_BYTES)
            except NoCardsError as error:
                log.warning("gpu.unseen", pid=self.pid, reason=error)
                break
            if found is None:
                continue
            if found.pci != self._ticket.seat.pci:
                self._misplace(found.pci)
                return
            break
        self._settled = True

    def _misplace(self, actual: PciBus) -> None:
        seat, adapter = self._ticket.seat, self._ticket.adapter
        self._why = f"draws on the card at {actual} instead of {seat.pci}, for Vulkan number {adapter}"
        if adapter is not None:
            self._cards.correct(adapter, actual)
        self._misplaced.set()
