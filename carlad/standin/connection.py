"""One non-blocking TCP connection of the event loop: what cannot be sent at once waits in a queue."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Any

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
_RECEIVE_BYTES = 1 << 18


class Connection:
    """Registers itself with `selector`; the event loop calls `ready` through the key's data.

    Subclasses say what to do with what is received and what to clean up at the end.
    """

    def __init__(self, sock: socket.socket, selector: selectors.BaseSelector) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a factor of three in ticks/s
        self.sock = sock
        self.open = True
        self.queue = bytearray()  # accepted for sending, but not yet by the kernel
        self._selector = selector
        selector.register(sock, READ, self.ready)

    def ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self.open:
            self._receive()

    def send(self, *parts: Any) -> None:
        """Send buffers as one message, now or as the peer reads. A dead connection ends silently."""
        if not self.open:
            return
        if self.queue:
            self._enqueue(parts, 0)
            return
        try:
            sent = self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < sum(memoryview(part).nbytes for part in parts):
            self._enqueue(parts, sent)
            self._selector.modify(self.sock, READ | WRITE, self.ready)

    def close(self) -> None:
        if not self.open:
            return
        self.open = False
        self._selector.unregister(self.sock)
        self.sock.close()
        self.closed()

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def closed(self) -> None:
        """What else has to go when the connection is gone."""

    def _enqueue(self, parts: tuple[Any, ...], sent: int) -> None:
        for part in parts:
            view = memoryview(part).cast("B")
            self.queue += view[min(sent, len(view)) :]
            sent -= min(sent, len(view))

    def _flush(self) -> None:
        try:
            del self.queue[: self.sock.send(self.queue)]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self.queue:
            self._selector.modify(self.sock, READ, self.ready)

    def _receive(self) -> None:
        try:
            data = self.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet. Raises OSError where the port is taken."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def accept_all(
    listener: socket.socket, selector: selectors.BaseSelector, admit: Callable[[socket.socket, str], object]
) -> None:
    """Listen, and call `admit` with each new connection and its peer's host."""

    def ready(_events: int) -> None:
        try:
            sock, address = listener.accept()
        except OSError:  # the peer has gone again, or no descriptor is left: try at the next event
            return
        admit(sock, address[0])

    listener.listen(128)
    selector.register(listener, READ, ready)
