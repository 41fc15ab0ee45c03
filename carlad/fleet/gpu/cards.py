"""The cards of this machine: looked at, given out, and found again under Vulkan's numbers."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TypeVar

import msgspec
import trio

from carlad.fleet.gpu.devices import Device, PciBus
from carlad.fleet.gpu.placement import Occupant, Seat, place
from carlad.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")
Pids = Callable[[], tuple[int, ...]]

_LOOK_MAX_S = 10.0  # a driver without persistence mode takes seconds to wake up
_DIES_MAX_S = 1.0
_LOOK = (sys.executable, "-m", "carlad.fleet.gpu.look")


class NoCardsError(Exception):
    """There is no card, no NVML, or none that answers."""


class Cards:
    """`environ` is the servers': Vulkan's order depends on it. `look` replaces the command of a look."""

    def __init__(self, environ: Mapping[str, str], look: tuple[str, ...] | None = None) -> None:
        self._environ = dict(environ)
        self._look = (*_dying_with_us(), *(look or _LOOK))
        self._stuck: trio.Process | None = None
        self._order: list[PciBus | None] | None = None  # by Vulkan's number
        self._seats: list[tuple[Seat, Pids]] = []
        self._giving = trio.Lock()
        self._asking = trio.Lock()
        self._looking = trio.Lock()
        self._looks = 0  # that were begun
        self._seen: list[Device] = []  # by the last of them

    @property
    def can_be_looked_at(self) -> bool:
        """Whether NVML's bindings are installed, with or without a card."""
        return importlib.util.find_spec("pynvml") is not None

    async def devices(self) -> list[Device]:
        """As they are now; of all who ask during a look one looks next, for all. Raises NoCardsError."""
        looks_before = self._looks
        async with self._looking:
            if self._looks == looks_before or not self._seen:
                self._looks, self._seen = self._looks + 1, []
                self._seen = await self._ask("cards", list[Device])
        if not self._seen:
            raise NoCardsError("NVML knows no card")
        return self._seen

    @asynccontextmanager
    async def seat(self, wanted: tuple[str, ...], need_bytes: int, server: Pids) -> AsyncIterator[Seat]:
        """Memory that is kept for a server until the end of the block; `server` tells its processes.

        Raises ServerError where no card has room, NoCardsError where there is none to look at.
        """
        with ExitStack() as stack:
            async with self._giving:  # between a look and the promise that follows nobody else looks
                seat = place(await self.devices(), wanted, self._present(), need_bytes)
                stack.enter_context(self.same_seat(seat, server))
            yield seat

    @contextmanager
    def same_seat(self, seat: Seat, server: Pids) -> Iterator[None]:
        """Kept, until the end of the block, for a server that an earlier daemon gave it to."""
        self._seats.append((seat, server))
        try:
            yield
        finally:
            self._seats.remove((seat, server))

    async def adapter(self, pci: PciBus) -> int | None:
        """Vulkan's number of a card; None where Vulkan cannot be asked."""
        if self._order is None:
            try:
                self._order = await self._ask("adapters", list[PciBus | None])
            except NoCardsError as error:
                log.info("gpu.order_unknown", reason=error)
                self._order = [device.pci for device in sorted(await self.devices(), key=lambda one: one.pci)]
        return self._order.index(pci) if pci in self._order else None

    def correct(self, adapter: int, actual: PciBus) -> None:
        """A server that was sent to `adapter` renders on `actual`: so will the next."""
        if self._order is None:  # an earlier daemon sent it, and Vulkan is yet to be asked
            return
        if actual in self._order:
            other = self._order.index(actual)
            self._order[other] = self._order[adapter]
        self._order[adapter] = actual

    def _present(self) -> Iterator[Occupant]:
        for seat, server in self._seats:
            yield Occupant(seat, frozenset(server()))

    async def _ask(self, what: str, answer: type[T]) -> T:
        async with self._asking:
            return msgspec.json.decode(await self._look_once(what), type=answer)

    async def _look_once(self, what: str) -> bytes:
        if self._stuck is not None and self._stuck.poll() is None:
            raise NoCardsError("the driver hangs")
        process = await trio.lowlevel.open_process(
            [*self._look, what],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environ,
            cwd="/",
        )
        said = complaint = b""
        try:
            with trio.move_on_after(_LOOK_MAX_S) as patience:
                said, complaint = await _read(process)
                await process.wait()
        finally:
            self._stuck = await _end(process)
        if patience.cancelled_caught:
            raise NoCardsError(f"the driver has not answered for {_LOOK_MAX_S:g} s")
        if process.returncode != 0:
            raise NoCardsError(complaint.decode(errors="replace").strip() or f"status {process.returncode}")
        return said


def _dying_with_us() -> tuple[str, ...]:
    """What stands before a command that is not to outlive a daemon that is killed."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig=KILL", "--") if setpriv else ()


async def _end(process: trio.Process) -> trio.Process | None:
    """None once it is gone. One that hangs inside a driver does not die: nobody waits for that."""
    process.kill()
    with trio.move_on_after(_DIES_MAX_S, shield=True):
        await process.wait()
        return None
    return process


async def _read(process: trio.Process) -> tuple[bytes, bytes]:
    """What it says and what it complains of, until it has closed both."""
    assert process.stdout is not None
    assert process.stderr is not None
    parts: dict[str, bytes] = {}

    async def read(name: str, stream: trio.abc.ReceiveStream) -> None:
        async with stream:
            parts[name] = b"".join([data async for data in stream])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "said", process.stdout)
        nursery.start_soon(read, "complaint", process.stderr)
    return parts["said"], parts["complaint"]
