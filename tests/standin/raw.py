"""A client without the official library: plain sockets and `carlad.wire`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from carlad.wire import msgpackrpc
from carlad.wire.calls import BARE, CALLS
from carlad.wire.msgpackrpc import Response, ResponseReader
from carlad.wire.streaming import MessageReader, subscription

TIMEOUT_S = 20.0  # on a machine that is busy with other tests


class RawClient:
    """Calls one server; `answers` gives the responses as they come."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = ResponseReader()
        self._received: list[Response] = []
        self._msgid = 0

    def send(self, name: str, *arguments: object) -> int:
        """Send a call and do not wait; returns its message id."""
        self._msgid += 1
        self.sock.sendall(msgpackrpc.request(self._msgid, name, arguments))
        return self._msgid

    def receive(self) -> Response:
        """The next response, whichever call it answers."""
        while not self._received:
            data = self.sock.recv(1 << 18)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._received += self._reader.receive(data)
        return self._received.pop(0)

    def call(self, name: str, *arguments: object) -> Any:
        """The call's result. Raises CallError where the server refuses."""
        msgid = self.send(name, *arguments)
        response = self.receive()
        assert response.msgid == msgid
        return msgpackrpc.result_of(response, CALLS[name].result, bare=name in BARE)


class RawSubscriber:
    """Reads one stream."""

    def __init__(self, sock: socket.socket, stream_id: int) -> None:
        self.sock = sock
        self._reader = MessageReader()
        self._payloads: list[bytes] = []
        sock.sendall(subscription(stream_id))

    def payload(self) -> bytes:
        while not self._payloads:
            data = self.sock.recv(1 << 18)
            if not data:
                raise ConnectionError("the stream has ended")
            self._payloads += self._reader.receive(data)
        return self._payloads.pop(0)


@contextmanager
def raw_client(port: int) -> Iterator[RawClient]:
    with connected(port) as sock:
        yield RawClient(sock)


@contextmanager
def raw_subscriber(port: int, stream_id: int) -> Iterator[RawSubscriber]:
    with connected(port) as sock:
        yield RawSubscriber(sock, stream_id)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def reset_on_close(sock: socket.socket) -> None:
    """Close with RST, as a killed process with unread data does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
