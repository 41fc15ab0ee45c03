"""Watching a world as a passive subscriber: no RPC is made, the server is not asked for anything.

A subscriber that does not keep reading can freeze a server in synchronous mode: read what is needed and
leave, and subscribe to nothing on a server that somebody else holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from carlad.errors import ServerError
from carlad.rpc.streams import Bound, forget, open_stream
from carlad.wire.errors import WireError
from carlad.wire.sensors import WorldSnapshot, read_world_snapshot
from carlad.wire.streaming import WORLD_STREAM, MessageReader, subscription

_RECEIVE_BYTES = 64 << 10


@asynccontextmanager
async def observe_world(host: str, port: int, bound: Bound = forget) -> AsyncIterator[WorldObserver]:
    """A subscription at a server's streaming port, until the end of the block. Raises ServerError."""
    async with await open_stream(host, port, bound) as stream:
        yield WorldObserver(stream, f"{host}:{port}")


class WorldObserver:
    """The world's snapshots in the order they were sent, from the first one after the subscription."""

    def __init__(self, stream: trio.SocketStream, peer: str) -> None:
        self._stream = stream
        self._peer = peer
        self._reader = MessageReader()
        self._payloads: deque[bytes] = deque()
        self._subscribed = False

    async def subscribe(self) -> None:
        """Snapshots are sent from now on, and have to be read. Raises BrokenResourceError."""
        if not self._subscribed:
            await self._stream.send_all(subscription(WORLD_STREAM))
            self._subscribed = True

    async def snapshot(self) -> WorldSnapshot:
        """The next one; in a synchronous world that nobody ticks there is none. Raises ServerError."""
        try:
            await self.subscribe()
            while not self._payloads:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
                if not data:
                    raise trio.BrokenResourceError("the server closed the connection")
                self._payloads.extend(self._reader.receive(data))
            return read_world_snapshot(self._payloads.popleft())
        except (trio.BrokenResourceError, WireError) as error:
            raise ServerError(f"cannot observe the world at {self._peer}: {error}") from error
