"""Who reads which stream, and what is sent to them.

Three rules that the client forces upon a fast server:

* `listen()` returns before its TCP subscription exists, so a stream whose token was just handed out is
  *expected*: a tick waits for it, shortly, or the first frame would be missed.
* A client must have read everything before it goes on, see drain.py.
* Nobody waits for a reader that stalls: its queue is bounded, messages beyond it are dropped whole, and
  the drain rule skips it until it has caught up.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any

from carlad.standin.connection import Connection
from carlad.standin.drain import DrainGauge, look_up
from carlad.wire.errors import WireError
from carlad.wire.streaming import WORLD_STREAM, SubscriptionReader, Token, frame_prefix

QUEUE_BYTES_MAX = 64 << 20  # 33 frames of 800x600; a slower reader loses frames
EXPECT_S = 1.0  # a subscription takes under a millisecond, but tenths of a second where many compete
DRAIN_S = 0.25  # a reader that takes longer has stalled; one that often does is waited for less and less


class Subscriber(Connection):
    """One reader of one stream."""

    def __init__(self, sock: socket.socket, selector: selectors.BaseSelector, streams: Streams) -> None:
        super().__init__(sock, selector)
        self.stream_id: int | None = None
        self.stalled = False
        self._accepted_bytes = 0
        self._patience_s = DRAIN_S
        self._look_up = look_up(sock)
        self._reader = SubscriptionReader()
        self._streams = streams

    def publish(self, parts: tuple[Any, ...], size: int) -> None:
        """Send one message of `size` bytes, or drop it where the reader is too far behind."""
        if len(self.queue) + size > QUEUE_BYTES_MAX and self.queue:
            self.stalled = True
            return
        self._accepted_bytes += size
        self.send(*parts)

    def unread(self, gauge: DrainGauge) -> int:
        """Bytes that were published but that the reader has not taken yet."""
        if not self.open:
            return 0
        left = len(self.queue) or gauge.unread(self.sock, self._accepted_bytes, self._look_up)
        self.stalled = self.stalled and left > 0
        return left

    def is_awaited(self, gauge: DrainGauge, waited_s: float) -> bool:
        """Whether to wait on for a reader that has been waited for so long; its patience is adapted."""
        if not self.unread(gauge):
            self._patience_s = min(DRAIN_S, 2.0 * self._patience_s)
            return False
        if waited_s <= self._patience_s:
            return True
        self.stalled = True
        self._patience_s /= 8.0
        return False

    def received(self, data: bytes) -> None:
        try:
            stream_id = self._reader.receive(data)
        except WireError:
            self.close()
            return
        if stream_id is not None and self.stream_id is None:
            self.stream_id = stream_id
            self._streams.subscribed(self)

    def closed(self) -> None:
        self._streams.unsubscribed(self)


class Streams:
    """All streams of the server. Stream 1 is the world observer; sensors get the next free id."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self.port = port
        self.gauge = DrainGauge()
        self.observers = 0  # subscriptions of the world that there ever were
        self.muted = False  # nothing is sent: a fault
        self.for_ros: set[int] = set()  # streams that clients want to have published over ROS
        self._selector = selector
        self._subscribers: dict[int, list[Subscriber]] = {}
        self._unnamed: set[Subscriber] = set()
        self._expected: dict[int, float] = {}  # stream id: until when a tick waits for it
        self._next_id = WORLD_STREAM + 1

    def admit(self, sock: socket.socket, _host: str) -> None:
        """Take a new connection, which will say what it wants to read."""
        self._unnamed.add(Subscriber(sock, self._selector, self))

    def subscribed(self, subscriber: Subscriber) -> None:
        assert subscriber.stream_id is not None
        self._unnamed.discard(subscriber)
        self._subscribers.setdefault(subscriber.stream_id, []).append(subscriber)
        self._expected.pop(subscriber.stream_id, None)
        if subscriber.stream_id == WORLD_STREAM:
            self.observers += 1

    def unsubscribed(self, subscriber: Subscriber) -> None:
        self._unnamed.discard(subscriber)
        readers = self._subscribers.get(subscriber.stream_id or 0, [])
        if subscriber in readers:
            readers.remove(subscriber)
        if not readers:
            self._subscribers.pop(subscriber.stream_id or 0, None)

    def new_stream(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def has(self, stream_id: int) -> bool:
        """Whether a stream of this id was ever given out."""
        return WORLD_STREAM <= stream_id < self._next_id

    def token(self, stream_id: int) -> bytes:
        return Token(stream_id, self.port).encode()

    def expect(self, stream_id: int) -> None:
        """A client asked for this stream's token and is about to subscribe."""
        self._expected[stream_id] = time.monotonic() + EXPECT_S

    def wanted(self, stream_id: int) -> bool:
        """Whether anybody reads this stream."""
        return stream_id in self._subscribers

    def publish(self, stream_id: int, *parts: Any) -> None:
        """Send one message, given in parts, to every reader of the stream."""
        readers = self._subscribers.get(stream_id)
        if not readers or self.muted:
            return
        size = sum(memoryview(part).nbytes for part in parts)
        message = (frame_prefix(size), *parts)
        for subscriber in tuple(readers):
            if subscriber.stalled:
                subscriber.unread(self.gauge)  # it may have caught up since the last frame
            subscriber.publish(message, size + 4)

    def end(self, stream_id: int) -> None:
        """Close a stream: its readers see the end of file."""
        for subscriber in tuple(self._subscribers.get(stream_id, ())):
            subscriber.close()

    def end_sensors(self) -> None:
        """Close every stream but the world observer's."""
        for stream_id in [key for key in self._subscribers if key != WORLD_STREAM]:
            self.end(stream_id)

    def arrived(self) -> Iterator[float]:
        """Wait until the expected subscriptions are there, or are not to come."""
        while self._expected:
            now_s = time.monotonic()
            self._expected = {key: until for key, until in self._expected.items() if until > now_s}
            if self._expected:
                yield min(self._expected.values()) - now_s

    def drained(self) -> Iterator[float]:
        """Wait until every reader has read all that was published, or has shown that it will not."""
        everyone = [reader for readers in self._subscribers.values() for reader in readers]
        awaited = [reader for reader in everyone if reader.unread(self.gauge) and not reader.stalled]
        started_s = time.monotonic() if awaited else 0.0
        while awaited:
            yield 0.0
            waited_s = time.monotonic() - started_s
            awaited = [reader for reader in awaited if reader.is_awaited(self.gauge, waited_s)]

    def drop(self) -> None:
        """Close every connection, as a fault: the streams themselves go on, for whoever comes back."""
        for stream_id in tuple(self._subscribers):
            self.end(stream_id)

    def close(self) -> None:
        self.drop()
        for subscriber in tuple(self._unnamed):
            subscriber.close()
        self.gauge.close()
