"""A ZeroMQ socket under trio: the only file that touches ZMQ_FD.

That descriptor is edge-triggered by libzmq's internal commands: it says "something changed, read EVENTS",
and once EVENTS was read, or any send or receive was tried, it says nothing about what is still pending.
So everybody tries without blocking first, and after every attempt, successful or not, EVENTS is read and
the waiters of both directions are woken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import trio
import zmq


class ZmqSocket:
    """Has one owner, which runs `pump` while others send and receive, and closes it."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._receivers = trio.lowlevel.ParkingLot()
        self._senders = trio.lowlevel.ParkingLot()

    async def pump(self) -> NoReturn:
        """Wakes the waiters; until cancelled. Without it `send` and `receive` may wait for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            self._wake()

    async def receive(self) -> list[bytes]:
        """The frames of one message. Cancelled, it has taken none."""
        return [frame.bytes for frame in await self.receive_frames()]

    async def receive_frames(self) -> list[zmq.Frame]:
        """As `receive`, with frames that know the properties of the connection that they came over."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (frames := self._try_receive()) is None:
            if not self._wake() & zmq.POLLIN:
                await self._receivers.park()
        self._wake()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return frames

    async def send(self, frames: Sequence[bytes]) -> None:
        """Waits while the socket's queue is full. Cancelled, it has sent nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._try_send(frames):
            if not self._wake() & zmq.POLLOUT:
                await self._senders.park()
        self._wake()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def close(self, linger_ms: int = 200) -> None:
        """What was sent has `linger_ms` to leave; the context's `term` waits for it."""
        with suppress(zmq.ZMQError):
            trio.lowlevel.notify_closing(self._descriptor)
        self._socket.close(linger=linger_ms)

    def _wake(self) -> int:
        """EVENTS, after waking whom they concern."""
        events = int(self._socket.getsockopt(zmq.EVENTS))
        if events & zmq.POLLIN:
            self._receivers.unpark_all()
        if events & zmq.POLLOUT:
            self._senders.unpark_all()
        return events

    def _try_receive(self) -> list[zmq.Frame] | None:
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None

    def _try_send(self, frames: Sequence[bytes]) -> bool:
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


@asynccontextmanager
async def pumped(socket: zmq.Socket[bytes]) -> AsyncIterator[ZmqSocket]:
    """For a short conversation: ready to send and receive, and closed at the end of the block."""
    conversing = ZmqSocket(socket)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversing.pump)
            yield conversing
            nursery.cancel_scope.cancel()
    finally:
        conversing.close(linger_ms=0)
