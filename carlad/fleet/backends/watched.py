"""A server that draws, as its slot sees it: not said to serve before it was seen to draw where it should."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from carlad.errors import ServerError
from carlad.fleet.backends.aim import Ticket
from carlad.fleet.backends.interface import Server, Serving
from carlad.fleet.gpu.cards import Cards, NoCardsError, Pids
from carlad.fleet.gpu.devices import MIB, PciBus
from carlad.fleet.gpu.placement import left_by, renders_on
from carlad.fleet.ports import Ports
from carlad.log import get_logger

log = get_logger(__name__)

_RENDERS_BYTES = 64 * MIB  # less than any server that draws takes, more than one leaves on a card beside
_LOOK_AGAIN_S = 1.0
_SEEN_MAX_S = 10.0  # after it listens; what is not seen then cannot be seen, as in another pid namespace
FREED_MAX_S = 5.0  # a driver gives gigabytes back a moment after their process has gone
_FREED_AGAIN_S = 0.1


class Watched:
    def __init__(self, server: Server, ticket: Ticket, cards: Cards, tree: Pids) -> None:
        self._server = server
        self._ticket = ticket
        self._cards = cards
        self.tree = tree
        self._listens = False
        self._settled = False
        self._misplaced = trio.Event()
        self._why = ""

    @property
    def pid(self) -> int | None:
        return self._server.pid

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
            try:
                found = renders_on(await self._cards.devices(), frozenset(self.tree()), _RENDERS_BYTES)
            except NoCardsError as error:
                log.warning("gpu.unseen", pid=self.pid, reason=error)
                break
            if found is not None and found.pci != self._ticket.seat.pci:
                self._misplace(found.pci)
                return
            if found is not None:
                break
            await trio.sleep(_LOOK_AGAIN_S)
            listened_for_s += _LOOK_AGAIN_S if self._listens else 0.0
        self._settled = True

    def _misplace(self, actual: PciBus) -> None:
        seat, adapter = self._ticket.seat, self._ticket.adapter
        self._why = f"draws on the card at {actual} instead of {seat.pci}, for Vulkan number {adapter}"
        if adapter is not None:
            self._cards.correct(adapter, actual)
        self._misplaced.set()


async def freed(cards: Cards, pids: frozenset[int]) -> None:
    """Returns when no card has memory of these processes, which have ended, or none can be looked at.

    Raises ServerError.
    """
    left = ""
    with trio.move_on_after(FREED_MAX_S):
        while pids:
            try:
                left = left_by(await cards.devices(), pids)
            except NoCardsError as error:
                log.warning("gpu.unseen", reason=error)
                return
            if not left:
                return
            await trio.sleep(_FREED_AGAIN_S)
    if left:
        raise ServerError(f"its GPU memory is not free {FREED_MAX_S:g} s after its end: {left}")
