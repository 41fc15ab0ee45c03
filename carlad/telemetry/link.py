"""The two ends of a telemetry link, over ZeroMQ's XPUB and SUB: lossy, and the newest bundle wins.

A viewer subscribes to a set of channels at once and gets one message a tick that holds all of them, so that
picture and numbers always belong to the same tick. Nothing waits for a viewer: a message that cannot be
queued at once is dropped, and the viewer's socket keeps only the newest.
"""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import zmq

from carlad import keys
from carlad.admission import Admission, Admitted
from carlad.endpoints import remote
from carlad.errors import CarladError, ConfigError
from carlad.keys import KeyPair
from carlad.telemetry.bundle import MAP, NUMBERS, Array, Bundle, Frame, Lanes, only
from carlad.telemetry.codec import decode_bundle, decode_lanes, encode_bundle, encode_lanes
from carlad.telemetry.thrift import Clocks, Thrift, threads
from carlad.telemetry.topics import (
    RATE_MAX_HZ,
    Bundles,
    bundles_topic,
    parse_bundles,
    parse_pause,
    pause_topic,
)

T = TypeVar("T")

_QUEUED_MAX = 2  # messages queued for one viewer; more would only be stale pictures and memory
_MESSAGE_BYTES_MAX = 64 << 20
_SERVED_MAX = 16  # distinct sets of channels served at once; each costs one more send a tick
_TOPICS_MAX = 256  # of them known; those not served wait until others are left
_NEWS_MAX = 256  # subscription messages handled in one call: a flood of them must not hold up a step
_NEWS_PERIOD_S = (
    0.05  # between two looks for viewers, each of which is a system call: nothing a step would feel
)
_KEYS_PERIOD_S = 1.0  # between two looks whether a viewer's key was taken away
_DOMAIN = "viewers"
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 2_000, 10_000  # a frozen or vanished peer is dropped after this


class TelemetryError(CarladError):
    """The endpoint cannot be used: badly written, taken, or a path that is too long for a socket."""


class Publisher:
    """The environment's end: binds `endpoint`, publishes, and knows what is wanted. Not thread-safe.

    No method waits for a viewer. Raises TelemetryError if the endpoint cannot be bound; the caller closes it.

    >>> publisher.set_lanes(lanes)                        # once a map
    >>> if due := publisher.due():                        # each step; well below a microsecond
    ...     publisher.publish(bundle, {"camera": image} if "camera" in due else {})
    """

    def __init__(self, endpoint: str) -> None:
        self.ignored = 0  # messages from viewers that were no subscription we serve
        self.steps_asked = 0  # by viewers that pause the session, so far
        self._bundles: dict[str, Bundles] = {}  # in the order of their coming
        self._pauses: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._lanes: bytes | None = None
        self._lanes_due = False
        self._look_s = 0.0  # when to look for viewers next
        self._thrift = Thrift()
        self._pause_till_s = 0.0
        self._began_cpu_s: float | None = None  # this thread's CPU time when a bundle was found to be due
        self._admission: Admission | None = None
        self._keys_look_s = 0.0
        before = threads()
        self._context = zmq.Context()
        self._socket = _open(self._context, zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each new viewer is seen, so it can be sent the map
        self._socket.setsockopt(zmq.SNDHWM, _QUEUED_MAX)
        self._socket.setsockopt(zmq.MAXMSGSIZE, 1 << 11)  # a viewer has nothing to say but its subscription
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise TelemetryError(f"cannot publish telemetry at {endpoint}: {error}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._clocks = Clocks(threads() - before)

    def admit(self, addresses: Sequence[str], pair: KeyPair, admitted: Admitted) -> None:
        """Serve viewers on other machines, too, with CURVE: at each tcp://ADDRESS:PORT those alone whose key
        is `admitted`. The socket speaks for itself with `pair`. Raises TelemetryError."""
        try:
            self._admission = Admission(self._context, self._socket, addresses, pair, _DOMAIN, admitted)
        except zmq.ZMQError as error:
            self.close()
            raise TelemetryError(f"cannot publish telemetry at {' or '.join(addresses)}: {error}") from error

    def due(self) -> frozenset[str]:
        """The channels of a bundle that is to be sent now, as its viewers have not had one for their period;
        empty when there is none, and while the last one's cost is not made up for."""
        now_s = time.monotonic()
        if not self.wanted() or now_s < self._pause_till_s:
            return frozenset()
        if due := frozenset[str]().union(*(b.channels for b in self._served() if b.due_s <= now_s)):
            self._began_cpu_s = time.thread_time()
        return due

    def wanted(self) -> frozenset[str]:
        """The channels with at least one subscriber; empty when nobody watches. May lag by 50 ms."""
        if time.monotonic() >= self._look_s:
            self.look()
        return self._wanted

    def is_paused(self) -> bool:
        """Whether a viewer wants the session to stand still. May lag by 50 ms."""
        self.wanted()
        return bool(self._pauses)

    def look(self) -> None:
        """Look for viewers now."""
        self._look_s = time.monotonic() + _NEWS_PERIOD_S
        self._read_subscriptions()
        if self._admission is not None and self._look_s >= self._keys_look_s:
            self._keys_look_s = self._look_s + _KEYS_PERIOD_S
            self._admission.look()
        if self._lanes_due and self._lanes is not None:
            self._lanes_due = False
            self._send(self._lanes)
        self._wanted = frozenset().union(*(bundles.channels for bundles in self._served()))

    def set_lanes(self, lanes: Lanes) -> None:
        """Set the map's geometry: sent to those who subscribe to "map" now, and once to each who comes."""
        self._lanes = encode_lanes(lanes)
        self._lanes_due = True
        self._look_s = 0.0

    def publish(
        self, bundle: Bundle, arrays: Mapping[str, Array] | None = None, to_all: bool = False
    ) -> None:
        """Send of the bundle and the arrays (uint8 or float32) what each viewer subscribed, to those to whom
        it is due, or `to_all`.

        Raises ValueError for an array of another dtype.
        """
        self.wanted()
        now_s = time.monotonic()
        for topic, bundles in itertools.islice(self._bundles.items(), _SERVED_MAX):
            if bundles.due_s > now_s and not to_all:
                continue
            bundles.due_s = now_s + bundles.period_s
            chosen = {name: array for name, array in (arrays or {}).items() if name in bundles.channels}
            self._send(encode_bundle(topic, only(bundle, bundles.channels), chosen, bundles.as_jpeg))
        if self._began_cpu_s is not None:
            cost_s, self._began_cpu_s = time.thread_time() - self._began_cpu_s, None
            self._thrift.spent(cost_s, self._clocks.read())
            self._pause_till_s = now_s + self._thrift.pause_s

    def close(self) -> None:
        """Close the endpoint and remove an `ipc://` endpoint's socket file. May be called again."""
        if self._admission is not None and not self._context.closed:
            self._admission.close()
        self._clocks.close()
        self._context.destroy(linger=0)
        if self.endpoint.startswith("ipc://"):
            Path(self.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _served(self) -> Iterable[Bundles]:
        return itertools.islice(self._bundles.values(), _SERVED_MAX)

    def _read_subscriptions(self) -> None:
        for _ in range(_NEWS_MAX):
            if not int(self._socket.events) & zmq.POLLIN:  # far less than a vain look costs
                return
            if (news := _receive(self._socket)) is None:
                return
            topic = news[1:-1].decode("ascii", "replace")
            if news[:1] == b"\x01" and news[-1:] == b"\0":
                self.ignored += not self._join(topic)
            elif news[:1] == b"\x00" and news[-1:] == b"\0":
                self._bundles.pop(topic, None)
                self._pauses.discard(topic)
            else:
                self.ignored += 1

    def _join(self, topic: str) -> bool:
        """Take in a topic that a viewer subscribed; False if it is none that we serve."""
        if topic == MAP:
            self._lanes_due = True
            return True
        if (steps := parse_pause(topic)) is not None and len(self._pauses) < _TOPICS_MAX:
            self._pauses.add(topic)
            self.steps_asked += steps > 0
            return True
        if topic in self._bundles:
            return True
        if (bundles := parse_bundles(topic)) is None or len(self._bundles) == _TOPICS_MAX:
            return False
        self._bundles[topic] = bundles
        return True

    def _send(self, message: bytes) -> None:
        self._socket.send(message, zmq.DONTWAIT)  # XPUB drops for a viewer whose queue is full


class Subscriber:
    """A viewer's end: the newest bundle, and the map in `lanes` once it has come. Not thread-safe.

    It connects in the background and again whenever the publisher goes away and returns. `channels` are what
    to get beside the bundle itself, at `rate_hz` at most. Over TCP images come as JPEG. Raises TelemetryError
    for a badly written endpoint, ConfigError for a key that cannot be used, ValueError for channels that
    cannot be.
    """

    def __init__(
        self, endpoint: str, channels: Iterable[str] = (MAP, *NUMBERS), rate_hz: int = RATE_MAX_HZ
    ) -> None:
        self.lanes: Lanes | None = None
        self.garbage = 0  # messages that could not be decoded and were skipped
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._endpoint = endpoint
        self._pause: zmq.Socket[bytes] | None = None
        self._token = secrets.token_hex(4)
        self._steps = 0
        asked = frozenset(channels)
        topic = bundles_topic(asked, rate_hz, as_jpeg=remote(endpoint) is not None)
        try:
            self._bundles = self._subscribe(topic)
            self._maps = self._subscribe(MAP) if MAP in asked else None
        except ConfigError:
            self.close()
            raise
        except (zmq.ZMQError, ValueError) as error:
            self.close()
            raise TelemetryError(f"cannot read telemetry from {endpoint}: {error}") from error

    def newest(self, wait_s: float = 0.0) -> Frame | None:
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

    def pause(self) -> None:
        """Ask the session to stand still from now on, until `resume`, or until this viewer is gone."""
        if self._pause is None:
            self._pause = _open(self._context, zmq.SUB)
            self._pause.subscribe(self._pause_topic())
            self._connect(self._pause)

    def step(self) -> None:
        """Ask the session, which stands still, for one step."""
        self.pause()
        assert self._pause is not None
        before = self._pause_topic()
        self._steps += 1
        self._pause.subscribe(self._pause_topic())
        self._pause.unsubscribe(before)

    def resume(self) -> None:
        """Let the session go on."""
        if self._pause is not None:
            self._pause.close(linger=0)
            self._pause = None

    def close(self) -> None:
        """Leave. May be called again."""
        self._context.destroy(linger=0)

    def _pause_topic(self) -> bytes:
        return pause_topic(self._token, self._steps).encode() + b"\0"

    def _subscribe(self, topic: str) -> zmq.Socket[bytes]:
        socket = _open(self._context, zmq.SUB)
        socket.setsockopt(zmq.CONFLATE, 1)  # one message each way, and so exactly one subscription a socket
        socket.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_BYTES_MAX)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        socket.subscribe(topic.encode() + b"\0")
        self._connect(socket)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _connect(self, socket: zmq.Socket[bytes]) -> None:
        """With this user's key where the endpoint names its publisher's: tcp://KEY@HOST:PORT."""
        there = remote(self._endpoint)
        if there is not None and there.server_key:
            keys.connect(socket, self._endpoint)
        else:
            socket.connect(self._endpoint)

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
