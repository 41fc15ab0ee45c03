"""Steps from another machine: the step protocol's bytes in ZeroMQ messages, with CURVE.

At either end a thread carries them between a ZeroMQ socket and a Unix socket, so that client and host speak
over TCP exactly as on one machine, but for shared memory. A message is a piece of the stream as it came; an
empty one says that the stream has ended.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from carlad import keys
from carlad.admission import Admission, Admitted
from carlad.endpoints import check_remote
from carlad.keys import KeyPair

_DOMAIN = "steps"
_PIECE_BYTES = 256 << 10
_CURVE_BYTES = 256  # more than a message grows by when it is encrypted (RFC 26: 33)
_QUEUED_MAX = 64  # pieces of a stream on their way
_SEND_MAX_MS = 10_000  # a peer that takes nothing for so long is gone
_LINGER_MS = 1_000  # for the last words
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 2_000, 10_000  # a peer that is frozen or cut off is gone after this
_STREAMS_MAX = 8  # one more closes the oldest
_LOOK_MS = 1_000  # between two looks whether a key was taken away
_THE_HOST = b""  # the client's only stream

# What ends a connection. Nobody connects again behind the protocol's back.
_OVER = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_BROKEN = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | _OVER | _REFUSED | _BROKEN


def connected(endpoint: str, within_s: float) -> socket.socket:
    """A Unix socket at whose other end the env host at tcp://KEY@HOST:PORT is, spoken to with this user's
    key. Who closes it ends the connection.

    Raises OSError where nobody answers there or where the host does not admit the key, and ConfigError for
    an endpoint or a key of ours that cannot be used.
    """
    check_remote("steps", endpoint)
    with ExitStack() as undo:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        undo.callback(context.destroy, linger=0)
        outer = _open(context, zmq.DEALER)
        outer.setsockopt(zmq.RECONNECT_IVL, -1)
        monitor = outer.get_monitor_socket(_EVENTS)
        keys.connect(outer, endpoint)
        _await_handshake(monitor, within_s)
        ours, theirs = socket.socketpair()
        carrier = _Carrier(context, outer, _nobody_comes, monitor)
        carrier.add(_THE_HOST, theirs)
        carrier.start()
        undo.pop_all()
    return ours


class Gate:
    """A host's TCP door: who has a key that is `admitted` is carried to its Unix socket at `path`, and is a
    stranger there like any other. The caller closes it."""

    def __init__(self, addresses: Sequence[str], path: str, pair: KeyPair, admitted: Admitted) -> None:
        """`addresses`: tcp://ADDRESS:PORT each. Raises OSError where one cannot be had."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        outer = _open(self._context, zmq.ROUTER)
        outer.setsockopt(zmq.ROUTER_MANDATORY, 1)  # who is gone is told, not kept quiet about
        try:
            self._admission = Admission(self._context, outer, addresses, pair, _DOMAIN, admitted)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise OSError(f"cannot serve at {' or '.join(addresses)}: {error}") from error
        self._stop, stopped = socket.socketpair()
        look = self._admission.look
        self._carrier = _Carrier(self._context, outer, lambda: _to_host(path), stopped, look)
        self._carrier.start()

    def close(self) -> None:
        """Ends all connections."""
        self._stop.close()
        self._carrier.join()
        self._admission.close()
        self._context.destroy(linger=_LINGER_MS)


@dataclass
class _Stream:
    """`waiting`: what came for it and what it has not taken yet."""

    sock: socket.socket
    waiting: memoryview


class _Carrier(threading.Thread):
    """Carries pieces until `until`, a socket of either kind, is readable and says that it is over, or the
    only stream of a client has ended. Owns all that it is given, a client's context too, and closes it."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        outer: zmq.Socket[bytes],
        accept: Callable[[], socket.socket | None],
        until: zmq.Socket[bytes] | socket.socket,
        look: Callable[[], None] | None = None,
    ) -> None:
        """`accept`: the stream for a peer that is new; None: there is none. `look` is called each second."""
        super().__init__(name="steps over TCP", daemon=True)
        self._context, self._outer, self._accept, self._until = context, outer, accept, until
        self._look, self._look_s = look, 0.0
        self._is_client = outer.type == zmq.DEALER
        self._is_cut = False  # the host is gone: nothing can be said to it
        self._streams: dict[bytes, _Stream] = {}

    def add(self, peer: bytes, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._streams[peer] = _Stream(sock, memoryview(b""))

    def run(self) -> None:
        try:
            while self._streams or not self._is_client:
                ready = self._wait()
                if self._look is not None and time.monotonic() >= self._look_s:
                    self._look_s = time.monotonic() + _LOOK_MS / 1000
                    self._look()
                if _polled(self._until) in ready and self._is_over():
                    break
                if self._outer in ready:
                    self._take_in()
                for peer, stream in list(self._streams.items()):
                    if stream.sock.fileno() in ready:
                        self._attend(peer, stream)
        finally:
            for peer in list(self._streams):
                self._end(peer)
            self._until.close()
            self._outer.close(linger=_LINGER_MS)
            if self._is_client:
                self._context.destroy(linger=_LINGER_MS)

    def _wait(self) -> dict[object, int]:
        """Nothing more is taken in while a stream does not take what there is."""
        poller = zmq.Poller()
        poller.register(_polled(self._until), zmq.POLLIN)
        is_free = True
        for stream in self._streams.values():
            poller.register(stream.sock.fileno(), zmq.POLLOUT if stream.waiting else zmq.POLLIN)
            is_free = is_free and not stream.waiting
        if is_free:
            poller.register(self._outer, zmq.POLLIN)
        return dict(poller.poll(None if self._look is None else _LOOK_MS))

    def _is_over(self) -> bool:
        if isinstance(self._until, socket.socket):
            return True
        recv_monitor_message(self._until)
        self._is_cut = True
        while all(not stream.waiting for stream in self._streams.values()) and self._take_in():
            pass  # what came before the end
        return True

    def _take_in(self) -> bool:
        """The next piece, if there is one."""
        try:
            *who, piece = self._outer.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return False
        peer = who[0] if who else _THE_HOST
        if not piece:
            self._drop(peer)  # who said so may be gone: an answer would wait for as long as a send may
            return True
        if peer not in self._streams and not self._admit(peer):
            return True
        stream = self._streams[peer]
        stream.waiting = memoryview(piece)
        self._attend(peer, stream)
        return True

    def _admit(self, peer: bytes) -> bool:
        """False: there is no stream for it."""
        if (sock := self._accept()) is None:
            self._say(peer, b"")
            return False
        if len(self._streams) >= _STREAMS_MAX:
            self._end(next(iter(self._streams)))
        self.add(peer, sock)
        return True

    def _attend(self, peer: bytes, stream: _Stream) -> None:
        """One piece either way, as far as it goes without waiting."""
        try:
            if stream.waiting:
                stream.waiting = stream.waiting[stream.sock.send(stream.waiting) :]
                return
            piece = stream.sock.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece or not self._say(peer, piece):
            self._end(peer)

    def _say(self, peer: bytes, piece: bytes) -> bool:
        """False: the peer is gone, or takes nothing."""
        if self._is_cut:
            return False
        try:
            self._outer.send_multipart([piece] if self._is_client else [peer, piece])
        except zmq.ZMQError:
            return False
        return True

    def _end(self, peer: bytes) -> None:
        """A host that is gone without our having heard of it is told for a moment, not for as long as a
        send may take."""
        if self._drop(peer) and (not self._is_client or self._outer.poll(_LINGER_MS, zmq.POLLOUT)):
            self._say(peer, b"")

    def _drop(self, peer: bytes) -> bool:
        """Whether there was a stream."""
        stream = self._streams.pop(peer, None)
        if stream is not None:
            stream.sock.close()
        return stream is not None


def _polled(sock: zmq.Socket[bytes] | socket.socket) -> zmq.Socket[bytes] | int:
    """What a Poller calls it by: it answers with descriptors where sockets are not ZeroMQ's."""
    return sock.fileno() if isinstance(sock, socket.socket) else sock


def _open(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    outer = context.socket(kind)
    outer.setsockopt(zmq.SNDHWM, _QUEUED_MAX)
    outer.setsockopt(zmq.RCVHWM, _QUEUED_MAX)
    outer.setsockopt(zmq.SNDTIMEO, _SEND_MAX_MS)
    outer.setsockopt(zmq.MAXMSGSIZE, _PIECE_BYTES + _CURVE_BYTES)
    outer.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    outer.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    return outer


def _await_handshake(monitor: zmq.Socket[bytes], within_s: float) -> None:
    """Raises OSError where there is none."""
    if not monitor.poll(int(1000 * within_s)):
        raise TimeoutError(f"nobody answered within {within_s:g} s")
    event = recv_monitor_message(monitor)["event"]
    if event == _REFUSED:
        raise PermissionError("it admits those alone whose session it is, and this user's key is not theirs")
    if event & _OVER:
        raise ConnectionRefusedError("nobody listens there")
    if event != zmq.EVENT_HANDSHAKE_SUCCEEDED:
        raise ConnectionRefusedError("it has not the key that the endpoint names, or speaks another protocol")


def _nobody_comes() -> None:
    return None


def _to_host(path: str) -> socket.socket | None:
    """None: the host is ending."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):
        sock.connect(path)
        return sock
    sock.close()
    return None
