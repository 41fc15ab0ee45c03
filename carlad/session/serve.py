"""The env host's door: who may speak to the environment, and the loop that answers."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hmac import compare_digest
from pathlib import Path

from carlad.session import arrays, protocol
from carlad.session.arrays import Array, Buffer
from carlad.session.connection import Connection
from carlad.session.host import Host
from carlad.session.protocol import (
    Close,
    Failed,
    FailureKind,
    Held,
    Hello,
    ProtocolError,
    Reply,
    Request,
    Reset,
    Share,
    Shared,
    Step,
    Welcome,
)
from carlad.session.shared import Shelf

_STRANGERS_MAX = 8  # connections that have not said the secret yet; one more closes the oldest
_HELLO_WITHIN_S = 2.0
_NEXT_WITHIN_S = 0.005  # a step that comes so soon after the last costs one system call less
_LOOK_EVERY_S = 0.05  # for whoever else wants something meanwhile
_HELD_LOOK_S = 0.02  # how often a held session looks whether it may go on
_HELD_PERIOD_S = 1.0
_PEER = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


@contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """A socket that is bound to the path, which goes at the end.

    Anybody who reaches the path may connect: who it is decides `serve`. Raises OSError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        try:
            listener.listen(_STRANGERS_MAX)
            os.chmod(path, 0o666)
            yield listener
        finally:
            Path(path).unlink(missing_ok=True)


class Door:
    """Lets one client in at a time: the last that came with the secret, as a user of `uids`. Others are told
    so and hold up nothing."""

    def __init__(
        self, listener: socket.socket, host: Host, secret: str, uids: frozenset[int], patience_s: float
    ) -> None:
        """`patience_s`: how long the host waits for a client that has left, or for a first one."""
        self._listener = listener
        self._host = host
        self._secret = secret
        self._uids = uids
        self._patience_s = patience_s
        self._alone_since_s: float | None = time.monotonic()
        self._client: Connection[Request] | None = None
        self._shelf: Shelf | None = None
        self._held: tuple[Step, dict[str, Array], float] | None = None  # and when to say so again
        self._strangers: dict[int, tuple[Connection[Request], float]] = {}  # with their deadlines
        self._poll = select.poll()
        self._is_stepping = False  # a step was answered last, and nobody else is at the door

    def serve(self, stop_fd: int) -> None:
        """Until the client says Close, stays away for too long, or `stop_fd` is readable."""
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(stop_fd, select.POLLIN)
        try:
            while self._patience_left_s() > 0:
                if not self._obey_while_it_steps():
                    return
                ready = [fd for fd, _ in self._poll.poll(self._wait_ms())]
                if stop_fd in ready or not self._attend(ready):
                    return
                if self._held is not None:
                    self._look_at_held(*self._held)
        finally:
            for connection in [c for c, _ in self._strangers.values()]:
                connection.close()
            self._dismiss()

    def _attend(self, ready: list[int]) -> bool:
        """False when the client said Close."""
        for fd in ready:
            if self._client is not None and fd == self._client.fileno():
                if not self._obey(self._client):
                    return False
            elif fd == self._listener.fileno():
                self._accept()
            elif fd in self._strangers:
                self._admit(fd)
        if self._strangers:
            self._send_away_the_silent()
        return True

    def _obey_while_it_steps(self) -> bool:
        """A client that asks again soon is waited for alone; False when it said Close."""
        until_s = time.monotonic() + _LOOK_EVERY_S
        while self._is_stepping and (client := self._client) is not None and time.monotonic() < until_s:
            self._is_stepping = False
            if not self._obey(client, _NEXT_WITHIN_S):
                return False
        return True

    def _patience_left_s(self) -> float:
        if self._alone_since_s is None:
            return float("inf")
        return self._alone_since_s + self._patience_s - time.monotonic()

    def _wait_ms(self) -> float | None:
        left_s = min(_HELLO_WITHIN_S if self._strangers else float("inf"), self._patience_left_s())
        left_s = min(left_s, _HELD_LOOK_S if self._held is not None else float("inf"))
        return None if left_s == float("inf") else 1000 * max(0.0, left_s) + 1

    # --- strangers

    def _accept(self) -> None:
        try:
            sock, _address = self._listener.accept()
        except OSError:  # it has left already
            return
        if _uid(sock) not in self._uids:
            sock.close()
            return
        if len(self._strangers) >= _STRANGERS_MAX:
            self._forget(next(iter(self._strangers)))
        connection = Connection(sock, protocol.decode_request, protocol.HELLO_BYTES_MAX)
        self._strangers[sock.fileno()] = connection, time.monotonic() + _HELLO_WITHIN_S
        self._poll.register(sock, select.POLLIN)

    def _admit(self, fd: int) -> None:
        connection, _ = self._strangers[fd]
        try:
            message = connection.receive_now()
            if message is None:
                return
            self._check(message[0])
        except (OSError, EOFError):
            self._forget(fd)
        except ProtocolError as error:
            with suppress(OSError):
                connection.send(protocol.encode_head(Failed(FailureKind.BAD_REQUEST, str(error))))
            self._forget(fd)
        else:
            del self._strangers[fd]
            self._greet(connection)

    def _check(self, hello: Request) -> None:
        if not isinstance(hello, Hello):
            raise ProtocolError(f"cannot answer {type(hello).__name__}: a connection begins with Hello")
        if not compare_digest(hello.secret.encode(), self._secret.encode()):
            raise ProtocolError("cannot serve: the secret is not, or not any more, this session's")
        if hello.version != protocol.VERSION:
            raise ProtocolError(
                f"cannot speak step protocol {hello.version}: this host speaks {protocol.VERSION}"
            )

    def _forget(self, fd: int) -> None:
        connection, _ = self._strangers.pop(fd)
        self._poll.unregister(fd)
        connection.close()

    def _send_away_the_silent(self) -> None:
        now_s = time.monotonic()
        for fd, (_, deadline_s) in list(self._strangers.items()):
            if deadline_s <= now_s:
                self._forget(fd)

    # --- the client

    def _greet(self, connection: Connection[Request]) -> None:
        self._dismiss()
        self._client, self._alone_since_s = connection, None
        connection.head_bytes_max = protocol.HEAD_BYTES_MAX
        try:
            connection.send(protocol.encode_head(Welcome()))
        except OSError:
            self._dismiss()

    def _dismiss(self) -> None:
        if self._client is not None:
            self._poll.unregister(self._client)
            self._client.close()
            self._held = None
            self._client, self._alone_since_s = None, time.monotonic()
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = None

    def _obey(self, client: Connection[Request], wait_s: float = 0.0) -> bool:
        """Do what the client asks, or comes to ask within `wait_s`; False for Close."""
        try:
            is_first = True
            while (is_first or client.has_more) and (message := client.receive(wait_s)) is not None:
                is_first, wait_s = False, 0.0
                request, found = message
                if isinstance(request, Close):
                    return False
                if isinstance(request, Step) and self._host.is_held():
                    self._held = request, found, 0.0
                else:
                    self._answer(client, request, found)
                    self._is_stepping = isinstance(request, Step) and not self._strangers
        except ProtocolError as error:
            with suppress(OSError):
                client.send(protocol.encode_head(Failed(FailureKind.BAD_REQUEST, str(error))))
            self._dismiss()
        except (OSError, EOFError):
            self._dismiss()
        return True

    def _look_at_held(self, step: Step, found: dict[str, Array], say_s: float) -> None:
        """Take the step that was held if it may go on now; else tell the client now and then."""
        assert self._client is not None
        now_s = time.monotonic()
        try:
            if not self._host.is_held():
                self._held = None
                self._answer(self._client, step, found)
            elif now_s >= say_s:
                self._held = step, found, now_s + _HELD_PERIOD_S
                self._client.send(protocol.encode_head(Held()))
        except OSError:
            self._dismiss()

    def _answer(self, client: Connection[Request], request: Request, found: dict[str, Array]) -> None:
        if isinstance(request, Share):
            self._share(client)
            return
        reply, parts = self._host.answer(request, found)
        slot = request.slot if isinstance(request, Step | Reset) else None
        try:
            head, body = self._encoded(reply, parts, slot)
        except ProtocolError as error:  # what the environment returned cannot travel
            head, body = protocol.encode_head(Failed(FailureKind.ENVIRONMENT_ERROR, str(error))), []
        client.send(head, body)

    def _encoded(
        self, reply: Reply, parts: dict[str, Array], slot: int | None
    ) -> tuple[list[bytes], list[Buffer]]:
        headers, body = [], []
        for name, part in parts.items():
            header = self._shelf.place(name, part, slot) if self._shelf is not None else None
            if header is None:
                header = arrays.header(name, part)
                body.append(arrays.raw(part))
            headers.append(header)
        return protocol.encode_head(reply, headers), body

    def _share(self, client: Connection[Request]) -> None:
        if (space := self._host.observation_space) is None:
            raise ProtocolError("cannot share memory before Construct")
        if self._shelf is not None:
            self._shelf.close()
        self._shelf = Shelf(space)
        reply = Shared(self._shelf.slots, self._shelf.slot_bytes if self._shelf.slots else 0)
        client.send(protocol.encode_head(reply), descriptor=self._shelf.descriptor)


def _uid(sock: socket.socket) -> int:
    """Of the process that connected, in the kernel's words."""
    _pid, uid, _gid = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
