"""Whole messages of the step protocol over a Unix socket, at either end."""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from carlad.session import arrays, protocol
from carlad.session.arrays import Array, Buffer
from carlad.session.protocol import LENGTHS, Head, ProtocolError

M = TypeVar("M")

_BUFFER_BYTES = 64 << 10
_WAIT_MAX_S = 1e6
_TIMEVAL = struct.Struct("@ll")  # seconds and microseconds
_SEND_MAX = _TIMEVAL.pack(10, 0)  # a peer that takes nothing for so long is gone

Message = tuple[M, dict[str, Array]]


class Connection(Generic[M]):
    """Owns the socket. `decode` reads what the other end says: `decode_request` or `decode_reply`.

    Raises ProtocolError for what is none, after which nothing more can be read, and OSError (EOFError where
    the other end has closed) for a connection that is over.
    """

    def __init__(
        self, sock: socket.socket, decode: Callable[[memoryview], Head[M]], head_bytes_max: int
    ) -> None:
        self.head_bytes_max = head_bytes_max  # a body may come only where a head may be of full size
        self.shared: memoryview | None = None  # where arrays with an offset lie
        self._socket = sock
        self._decode = decode
        self._view = memoryview(bytearray(_BUFFER_BYTES))  # what was received and not taken
        self._filled = 0
        self._large: tuple[Head[M], bytearray, int] | None = None  # a body that is on its way
        self._patience_s = math.inf  # of the socket's own receives
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        sock.setblocking(True)  # a receive says itself that it does not wait
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_MAX)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, head: Sequence[bytes], body: Sequence[Buffer] = (), descriptor: int | None = None) -> None:
        """All of it, and a descriptor with it. Parts of the body are bytes, or views of bytes."""
        parts: list[Buffer] = [*head, *body]
        total = sum(map(len, parts))
        if descriptor is None and total <= _BUFFER_BYTES:  # quicker in one piece
            parts = [b"".join(parts)]
            sent = self._socket.send(parts[0])
        else:
            ancillary = [] if descriptor is None else [_rights(descriptor)]
            sent = self._socket.sendmsg(parts, ancillary)
        if sent < total:
            self._socket.sendall(b"".join(parts)[sent:])

    def receive(self, wait_s: float) -> Message[M] | None:
        """The next message; None where none has come whole within `wait_s`: what is here of one is kept."""
        until_s = time.monotonic() + wait_s
        message = self._taken() if self.has_more else None
        while message is None and self._take_in(wait_s):
            message = self._taken()
            wait_s = until_s - time.monotonic()
        return message

    def receive_now(self) -> Message[M] | None:
        """The next message if it is here; what is here of one is kept."""
        return self.receive(0.0)

    @property
    def has_more(self) -> bool:
        """Something came behind the message that was received last."""
        return self._filled > 0 or self._large is not None

    def receive_descriptor(self, wait_s: float) -> tuple[Message[M] | None, int | None]:
        """As `receive`, with the descriptor that comes along."""
        assert self._filled == 0
        if not self._poll.poll(1000 * wait_s):
            return None, None
        data, descriptors, _flags, _address = socket.recv_fds(self._socket, _BUFFER_BYTES, 1)
        if not data:
            raise EOFError("the other end has closed the connection")
        self._view[: len(data)] = data
        self._filled = len(data)
        return self.receive(wait_s), descriptors[0] if descriptors else None

    def close(self) -> None:
        self._socket.close()

    def _take_in(self, wait_s: float) -> bool:
        """What is here, or else comes within `wait_s`; False: nothing."""
        if wait_s > 0:
            self._wait_no_longer_than(wait_s)
        try:
            count = self._socket.recv_into(self._space(), 0, 0 if wait_s > 0 else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        if count == 0:
            raise EOFError("the other end has closed the connection")
        self._note(count)
        return True

    def _wait_no_longer_than(self, wait_s: float) -> None:
        """Set on the socket: a poll before each receive would be a system call more."""
        if wait_s != self._patience_s:
            whole_s = int(min(wait_s, _WAIT_MAX_S))
            rest_us = int(1e6 * min(wait_s - whole_s, 0.999999)) or (whole_s == 0)  # 0 would be for ever
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(whole_s, rest_us))
            self._patience_s = wait_s

    def _space(self) -> memoryview:
        if self._large is not None:
            return memoryview(self._large[1])[self._large[2] :]
        return self._view[self._filled :] if self._filled else self._view

    def _note(self, count: int) -> None:
        if self._large is None:
            self._filled += count
        else:
            head, body, filled = self._large
            self._large = head, body, filled + count

    def _taken(self) -> Message[M] | None:
        """The first message of what was received, if it is whole."""
        if self._large is not None:
            head, body, filled = self._large
            if filled < len(body):
                return None
            self._large = None
            return self._message(head, body)
        if self._filled < LENGTHS.size:
            return None
        head_bytes, body_bytes = LENGTHS.unpack_from(self._view)
        self._check(head_bytes, body_bytes)
        start = LENGTHS.size + head_bytes
        if len(self._view) < start:
            self._view = memoryview(bytearray(self._view[: self._filled]).ljust(start, b"\0"))
        if self._filled < start:
            return None
        head = self._decode(self._view[LENGTHS.size : start])
        if head.body_bytes != body_bytes:
            raise ProtocolError(f"cannot read arrays of {head.body_bytes} bytes from {body_bytes}")
        return self._with_body(head, start, body_bytes)

    def _with_body(self, head: Head[M], start: int, body_bytes: int) -> Message[M] | None:
        end = min(start + body_bytes, self._filled)
        body = bytearray(self._view[start:end])
        if rest := self._filled - end:
            self._view[:rest] = self._view[end : self._filled]
        self._filled = rest
        if len(body) < body_bytes:
            self._large = head, body.ljust(body_bytes, b"\0"), len(body)
            return None
        return self._message(head, body)

    def _message(self, head: Head[M], body: bytearray) -> Message[M]:
        return head.message, arrays.read(head.arrays, body, self.shared)

    def _check(self, head_bytes: int, body_bytes: int) -> None:
        if head_bytes > self.head_bytes_max or head_bytes == 0:
            raise ProtocolError(f"cannot read a head of {head_bytes} bytes: 1 to {self.head_bytes_max}")
        body_max = protocol.BODY_BYTES_MAX if self.head_bytes_max == protocol.HEAD_BYTES_MAX else 0
        if body_bytes > body_max:
            raise ProtocolError(f"cannot read arrays of {body_bytes} bytes: {body_max} at most")


def _rights(descriptor: int) -> tuple[int, int, Any]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor])
