"""The two ends of a telemetry link, over ZeroMQ's XPUB and SUB: lossy, and the newest bundle wins.

A viewer subscribes to a set of channels at once and gets one message a tick that holds all of them, so that
picture and numbers always belong to the same tick. Nothing waits for a viewer: a message that cannot be
queued at once is dropped, and the viewer's socket keeps only the newest.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import zmq

from carlad.errors import CarladError
from carlad.telemetry.bundle import (
    BUNDLE,
    MAP,
    Array,
    Bundle,
    Lanes,
    decode_bundle,
    decode_lanes,
    encode_bundle,
    encode_lanes,
)

T = TypeVar("T")

_QUEUED_MAX = 2  # messages queued for one viewer; more would only be stale pictures and memory
_MESSAGE_BYTES_MAX = 64 << 20
_TOPIC = re.compile(r"[a-z0-9_.]{1,32}(,[a-z0-9_.]{1,32}){0,7}")
_SERVED_MAX = 16  # distinct sets of channels served at once; each costs one more send a tick
_TOPICS_MAX = 256  # of them known; those not served wait until others are left
_NEWS_MAX = 256  # subscription messages handled in one call: a flood of them must not hold up a step
_NEWS_PERIOD_S = (
    0.05  # between two looks for viewers, each of which is a system call: nothing a step would feel
)
RATE_MAX_HZ = 30.0  # bundles a second, as many as a viewer draws; steps may be far more
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 2_000, 10_000  # a frozen or vanished peer is dropped after this


class TelemetryError(CarladError):
    """The endpoint cannot be used: badly written, taken, or a path that is too long for a socket."""


class Publisher:
    """The environment's end: binds `endpoint`, publishes, and knows what is wanted. Not thread-safe.

    No method waits for a viewer. Raises TelemetryError if the endpoint cannot be bound; the caller closes it.

    >>> publisher.set_lanes(lanes)                        # once a map
    >>> if publisher.due():                               # each step; well below a microsecond
    ...     arrays = {"camera": image} if "camera" in publisher.wanted() else {}
    ...     publisher.publish(bundle, arrays)
    """

    def __init__(self, endpoint: str) -> None:
        self.ignored = 0  # messages from viewers that were no subscription we serve
        self._topics: dict[str, None] = {}  # as a set, in the order of their coming
        self._channels: frozenset[str] = frozenset()
        self._lanes: bytes | None = None
        self._lanes_due = False
        self._look_s = 0.0  # when to look for viewers next
        self._due_s = 0.0  # when the next bundle may follow the last one
        self._context = zmq.Context()
        self._socket = _open(self._context, zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each new viewer is seen, so it can be sent the map
        self._socket.setsockopt(zmq.SNDHWM, _QUEUED_MAX)
        self._socket.setsockopt(zmq.MAXMSGSIZE, 1 << 10)  # a viewer has nothing to say but its subscription
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise TelemetryError(f"cannot publish telemetry at {endpoint}: {error}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def due(self) -> bool:
        """Whether a step is to be published: someone watches, and the last bundle is 1/30 s old."""
        return time.monotonic() >= self._due_s and bool(self.wanted())

    def wanted(self) -> frozenset[str]:
        """The channels with at least one subscriber; empty when nobody watches. May lag by 50 ms."""
        if (now_s := time.monotonic()) < self._look_s:
            return self._channels
        self._look_s = now_s + _NEWS_PERIOD_S
        self._read_subscriptions()
        if self._lanes_due and self._lanes is not None:
            self._lanes_due = False
            self._send(self._lanes)
        self._channels = frozenset(channel for topic in self._served() for channel in topic.split(","))
        return self._channels

    def set_lanes(self, lanes: Lanes) -> None:
        """Set the map's geometry: sent to those who subscribe to "map" now, and once to each who comes."""
        self._lanes = encode_lanes(lanes)
        self._lanes_due = True
        self._look_s = 0.0

    def publish(self, bundle: Bundle, arrays: Mapping[str, Array] | None = None) -> None:
        """Send the bundle, due or not, and of the arrays (uint8 or float32) those that are subscribed.

        Raises ValueError for an array of another dtype.
        """
        self.wanted()
        self._due_s = time.monotonic() + 1 / RATE_MAX_HZ
        for topic in self._served():
            if topic == MAP:
                continue
            chosen = {name: arrays[name] for name in topic.split(",") if name in arrays} if arrays else {}
            self._send(encode_bundle(topic, bundle, chosen))

    def close(self) -> None:
        """Close the endpoint and remove an `ipc://` endpoint's socket file. May be called again."""
        self._context.destroy(linger=0)
        if self.endpoint.startswith("ipc://"):
            Path(self.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _served(self) -> list[str]:
        return list(itertools.islice(self._topics, _SERVED_MAX))

    def _read_subscriptions(self) -> None:
        for _ in range(_NEWS_MAX):
            if (news := _receive(self._socket)) is None:
                return
            self._note(news)

    def _note(self, news: bytes) -> None:
        """Take in a viewer's message: 1 and a topic it subscribes, or 0 and one that its last viewer left."""
        topic = news[1:-1].decode("ascii", "replace")
        joined = news[:1] == b"\x01"
        valid = news[:1] in (b"\x00", b"\x01") and news[-1:] == b"\0" and _TOPIC.fullmatch(topic)
        if not valid or (joined and topic not in self._topics and len(self._topics) == _TOPICS_MAX):
            self.ignored += 1
        elif not joined:
            self._topics.pop(topic, None)
        else:
            self._topics[topic] = None
            self._lanes_due |= topic == MAP

    def _send(self, message: bytes) -> None:
        self._socket.send(message, zmq.DONTWAIT)  # XPUB drops for a viewer whose queue is full


class Subscriber:
    """A viewer's end: the newest bundle, and the map in `lanes` once it has come. Not thread-safe.

    It connects in the background and again whenever the publisher goes away and returns. `channels` are the
    arrays to get beside the bundle, and "map". Raises TelemetryError for a badly written endpoint.
    """

    def __init__(self, endpoint: str, channels: Iterable[str] = (MAP,)) -> None:
        self.lanes: Lanes | None = None
        self.garbage = 0  # messages that could not be decoded and were skipped
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        asked = set(channels)
        try:
            self._bundles = self._subscribe(endpoint, ",".join(sorted(asked - {MAP} | {BUNDLE})))
            self._maps = self._subscribe(endpoint, MAP) if MAP in asked else None
        except zmq.ZMQError as error:
            self.close()
            raise TelemetryError(f"cannot read telemetry from {endpoint}: {error}") from error

    def newest(self, wait_s: float = 0.0) -> tuple[Bundle, dict[str, Array]] | None:
        """The newest bundle not yet read and its arrays (read-only); None if none comes within `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            self._poller.poll(math.ceil(left_s * 1000))
            if self._maps is not None and (message := _receive(self._maps)) is not None:
                self.lanes = self._decoded(decode_lanes, message) or self.lanes
            if (message := _receive(self._bundles)) is not None:
                if (bundle := self._decoded(decode_bundle, message)) is not None:
                    return bundle
            elif left_s == 0.0:
                return None

    def close(self) -> None:
        """Leave. May be called again."""
        self._context.destroy(linger=0)

    def _subscribe(self, endpoint: str, topic: str) -> zmq.Socket[bytes]:
        socket = _open(self._context, zmq.SUB)
        socket.setsockopt(zmq.CONFLATE, 1)  # one message each way, and so exactly one subscription a socket
        socket.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_BYTES_MAX)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        socket.subscribe(topic.encode() + b"\0")
        socket.connect(endpoint)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _decoded(self, decode: Callable[[bytes], T], message: bytes) -> T | None:
        try:
            return decode(message)
        except ValueError:  # msgspec's errors are ValueErrors
            self.garbage += 1
            return None


def _open(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    return socket


def _receive(socket: zmq.Socket[bytes]) -> bytes | None:
    try:
        return socket.recv(zmq.DONTWAIT)
    except zmq.Again:
        return None
