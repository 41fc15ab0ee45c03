"""A client's conversation with its daemon: one request at a time over a DEALER socket."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType

import msgspec
import zmq

from carlad.endpoints import remote
from carlad.errors import CarladError, GivenUpError, NoDaemonError
from carlad.keys import client_key, connect
from carlad.messages import PROTOCOL_VERSION, Queued, Reply, ReplyBody, Request, RequestBody, Withdraw

SILENCE_MAX_S = 5.0  # of a daemon that lives; it answers within QUEUED_AFTER_S of the gateway
_SUCCESSOR_MAX_S = 4.0  # a daemon that is started again listens within one, on a quiet machine
_LOOK_AGAIN_S = 0.05
_CONNECT_MAX_S = 2.0
_LOOK_UP_S = 0.25  # whether somebody gave up
_EVENT = struct.Struct("=hi")  # zmq_socket_monitor(3): the event, and its value; the address follows
_RESENDS = 3  # within that silence: a restarting daemon loses what was on its way

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode


class Link:
    """Connects when it is first used, and again after the daemon was away. Any thread may use it.

    A child process that was forked gets a socket of its own. Whoever creates a link closes it.
    """

    def __init__(self, endpoint: str, silence_max_s: float = SILENCE_MAX_S) -> None:
        self.endpoint = endpoint
        self.silence_max_s = silence_max_s
        self._lock = threading.Lock()
        self._pid = 0
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._handshakes: zmq.Socket[bytes] | None = None  # tells of those that failed, over TCP
        self._given_up = threading.Event()

    def ask(self, body: RequestBody, on_queued: Callable[[Queued], None] | None = None) -> ReplyBody:
        """The daemon's answer, however long it waits, as long as it is there.

        The request is sent again where there is silence, and withdrawn where the caller is interrupted.
        Raises NoDaemonError.
        """
        request = Request(version=PROTOCOL_VERSION, request_id=uuid.uuid4().hex, body=body)
        with self._lock:
            try:
                return self._converse(request, on_queued)
            except BaseException:  # also an interrupt: nobody would ever use what was asked for
                self._withdraw(request.request_id)
                self._disconnect()
                raise

    def give_up(self) -> None:
        """From another thread: who is in `ask`, or comes to it, gets GivenUpError within a moment."""
        self._given_up.set()

    def close(self) -> None:
        """Idempotent. What was sent last has a moment to leave."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _converse(self, request: Request, on_queued: Callable[[Queued], None] | None) -> ReplyBody:
        connection = self._connect()
        heard_at = time.monotonic()
        while True:
            self._send(connection, request, heard_at)
            body = self._receive(connection, request.request_id, self.silence_max_s / _RESENDS)
            while isinstance(body, Queued):
                if on_queued is not None:
                    on_queued(body)
                heard_at = time.monotonic()
                body = self._receive(connection, request.request_id, self.silence_max_s / _RESENDS)
            if body is not None:
                return body
            self._check_silence(heard_at)

    def _send(self, connection: zmq.Socket[bytes], request: Request, heard_at: float) -> None:
        while not _sent(connection, request, within_ms=100):  # it is not connected, or not any more
            check_listening(self.endpoint, self.silence_max_s)
            self._check_handshakes()
            self._check_silence(heard_at)

    def _receive(self, connection: zmq.Socket[bytes], request_id: str, wait_s: float) -> ReplyBody | None:
        """None after `wait_s`. Answers to earlier requests are skipped."""
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            if self._given_up.is_set():
                raise GivenUpError(f"the request to {self.endpoint} is wanted no more")
            if connection.poll(max(1, int(1000 * min(left_s, _LOOK_UP_S)))):
                reply = _read(connection.recv_multipart())
                if reply.request_id == request_id:
                    return reply.body
        return None

    def _check_silence(self, heard_at: float) -> None:
        if time.monotonic() - heard_at >= self.silence_max_s:
            raise _no_daemon(self.endpoint, f"silent for {self.silence_max_s:g} s")

    def _check_handshakes(self) -> None:
        """Raises NoDaemonError where the daemon refuses our key, instead of after a silence."""
        while self._handshakes is not None and self._handshakes.poll(0):
            event, _status = _EVENT.unpack(self._handshakes.recv_multipart()[0])
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise NoDaemonError(
                    f"the daemon at {self.endpoint} does not admit the key {client_key()}: its operator puts "
                    "the public half into the daemon's keys as clients/USER.key, then `carlactl reload`"
                )

    def _connect(self) -> zmq.Socket[bytes]:
        if self._socket is None or self._pid != os.getpid():
            check_listening(self.endpoint, self.silence_max_s)
            self._pid = os.getpid()
            self._context = zmq.Context()
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is kept for a daemon that is not there
            self._handshakes = _failed_handshakes(self._socket) if remote(self.endpoint) else None
            connect(self._socket, self.endpoint)
        return self._socket

    def _withdraw(self, request_id: str) -> None:
        """Not waited for."""
        if self._socket is not None:
            withdraw = Withdraw(request_id=request_id)
            request = Request(version=PROTOCOL_VERSION, request_id=uuid.uuid4().hex, body=withdraw)
            _sent(self._socket, request, within_ms=0)

    def _disconnect(self) -> None:
        if self._socket is not None and self._context is not None and self._pid == os.getpid():
            if self._handshakes is not None:
                self._socket.disable_monitor()
                self._handshakes.close(linger=0)
            self._socket.close(linger=200)
            self._context.term()
        self._socket = self._context = self._handshakes = None


def _sent(connection: zmq.Socket[bytes], request: Request, within_ms: int) -> bool:
    """Whether it is on its way. Between the poll and the sending the daemon may die, and a send that blocks
    would then wait for its successor."""
    if not connection.poll(within_ms, zmq.POLLOUT):
        return False
    try:
        connection.send(_encode(request), zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def _failed_handshakes(dealer: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    return dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)


def check_listening(endpoint: str, silence_max_s: float) -> None:
    """Raises NoDaemonError at once where nothing listens, instead of after a silence.

    Where a daemon left its socket behind, its successor is given a moment, within that silence.
    """
    successor_until = time.monotonic() + min(_SUCCESSOR_MAX_S, silence_max_s)
    while (why := _listens(endpoint)) is not None:
        if time.monotonic() > successor_until:
            raise _no_daemon(endpoint, why)
        time.sleep(_LOOK_AGAIN_S)


def _listens(endpoint: str) -> str | None:
    """None, or why a daemon that was there is not. Raises NoDaemonError where none was."""
    there = remote(endpoint)
    try:
        if there is not None:
            socket.create_connection((there.host.strip("[]"), there.port), _CONNECT_MAX_S).close()
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_CONNECT_MAX_S)
            probe.connect(endpoint.removeprefix("ipc://"))
    except ConnectionRefusedError as error:
        if there is not None:
            raise _no_daemon(endpoint, error.strerror or str(error)) from error
        return error.strerror or str(error)
    except PermissionError as error:
        raise NoDaemonError(
            f"cannot reach the daemon at {endpoint}: {error.strerror}; members of its group may, such as "
            "after `usermod -aG carlad USER` and a new login"
        ) from error
    except OSError as error:
        raise _no_daemon(endpoint, error.strerror or str(error)) from error
    return None


def _no_daemon(endpoint: str, why: str) -> NoDaemonError:
    return NoDaemonError(
        f"no daemon answers at {endpoint} ({why}): start it with `carlad` or set CARLAD_ENDPOINT"
    )


def _read(frames: list[bytes]) -> Reply:
    try:
        (payload,) = frames
        return _decode(payload)
    except (ValueError, msgspec.MsgspecError) as error:
        raise CarladError(f"cannot understand the daemon: {error}; is it of another version?") from error
