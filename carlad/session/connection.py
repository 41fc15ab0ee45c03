"""Whole messages of the step protocol over a Unix socket, at either end."""

from __future__ import annotations

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
_SEND_MAX = struct.pack("@ll", 10, 0)  # a timeval: a peer that takes nothing for so long is gone

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
        self._buffer = bytearray(_BUFFER_BYTES)
        self._filled = 0
        self._large: tuple[Head[M], bytearray, int] | None = None  # a body that is on its way
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        sock.setblocking(True)  # a receive says itself that it does not wait
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_MAX)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, head: Sequence[bytes], body: Sequence[Buffer] = (), descriptor: int | None = None) -> None:
        """All of it, and a descriptor with it."""
        parts: list[Buffer] = [*head, *body]
        total = sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in parts)
        ancillary = [] if descriptor is None else [_rights(descriptor)]
        sent = self._socket.sendmsg(parts, ancillary)
        if sent < total:
            self._socket.sendall(b"".join(parts)[sent:])

    def receive(self, wait_s: float) -> Message[M] | None:
        """The next message; None where none has come whole within `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        left_s = wait_s
        while (message := self._taken()) is None:
            if left_s > 0:  # as a rule nothing is here yet, which a vain look costs more to find out
                self._poll.poll(1000 * left_s + 1)
            if (message := self.receive_now()) is not None:
                return message
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
        return message

    def receive_now(self) -> Message[M] | None:
        """The next message if it is here; what is here of one is kept."""
        while True:
            if (message := self._taken()) is not None:
                return message
            into = self._space()
            try:
                count = self._socket.recv_into(into, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if count == 0:
                raise EOFError("the other end has closed the connection")
            self._note(count)

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
        self._buffer[: len(data)] = data
        self._filled = len(data)
        return self.receive(wait_s), descriptors[0] if descriptors else None

    def close(self) -> None:
        self._socket.close()

    def _space(self) -> memoryview:
        if self._large is not None:
            return memoryview(self._large[1])[self._large[2] :]
        return memoryview(self._buffer)[self._filled :]

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
        head_bytes, body_bytes = LENGTHS.unpack_from(self._buffer)
        self._check(head_bytes, body_bytes)
        if len(self._buffer) < LENGTHS.size + head_bytes:
            self._buffer = self._buffer + bytes(LENGTHS.size + head_bytes - len(self._buffer))
        start = LENGTHS.size + head_bytes
        if self._filled < start:
            return None
        head = self._decode(memoryview(self._buffer)[LENGTHS.size : start])
        if head.body_bytes != body_bytes:
            raise ProtocolError(f"cannot read arrays of {head.body_bytes} bytes from {body_bytes}")
        return self._with_body(head, start, body_bytes)

    def _with_body(self, head: Head[M], start: int, body_bytes: int) -> Message[M] | None:
        here = min(self._filled - start, body_bytes)
        body = bytearray(body_bytes)
        body[:here] = memoryview(self._buffer)[start : start + here]
        rest = self._filled - start - here
        self._buffer[:rest] = self._buffer[start + here : self._filled]
        self._filled = rest
        if here < body_bytes:
            self._large = head, body, here
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
