"""The daemon's end of a shim's socket, and how a shim of an earlier daemon is found and vouched for."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet.leftovers import Incarnation, read
from carlad.fleet.marks import Known, boot_id, has_mark
from carlad.fleet.shim import start_time

_ANSWERS_MAX_S = 2.0  # a shim does nothing that takes long
_AWAY = "while no daemon was there"


class Process(Protocol):
    """The shim: a child of this daemon, or one that an earlier daemon left."""

    @property
    def pid(self) -> int: ...
    def kill(self) -> None: ...
    async def wait(self) -> object: ...


class _Event(msgspec.Struct, frozen=True, tag_field="event"):
    """What a shim says, see shim.py."""


class Started(_Event, frozen=True, tag="started"):
    pid: int
    start_time: int


class Failed(_Event, frozen=True, tag="failed"):
    why: str


class Exited(_Event, frozen=True, tag="exited"):
    status: int
    dropped_bytes: int


class Gone(_Event, frozen=True, tag="gone"):
    pass


ShimEvent = Started | Failed | Exited | Gone
_decoder: msgspec.json.Decoder[ShimEvent] = msgspec.json.Decoder(ShimEvent)


class ShimLink:
    """`pid`: of the process that the shim started; 0 before it says so."""

    def __init__(self, shim: Process, stream: trio.SocketStream, mark: str) -> None:
        self.shim = shim
        self.mark = mark
        self.pid = 0
        self._stream = stream
        self._heard = b""
        self._events: deque[ShimEvent] = deque()

    async def started(self) -> None:
        """Returns once the server's process runs. Raises ServerError."""
        event = await self.event()
        if isinstance(event, Started):
            self.pid = event.pid
        elif isinstance(event, Failed):
            raise ServerError(event.why)
        else:
            raise ServerError("cannot start a shim: it ended at once, see the daemon's own log")

    async def event(self) -> ShimEvent | None:
        """The shim's next word; None when it is no more. May be cancelled without losing one."""
        while not self._events:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return None
            *lines, self._heard = (self._heard + data).split(b"\n")
            self._events.extend(_decoder.decode(line) for line in lines)
        return self._events.popleft()

    async def order_stop(self, grace_s: float) -> None:
        with suppress(trio.BrokenResourceError):  # a shim that is gone is noticed by who reads
            await self._stream.send_all(msgspec.json.encode({"stop": grace_s}) + b"\n")

    async def aclose(self) -> None:
        """Not before the shim has ended, or nobody waits for that any more."""
        await self._stream.aclose()
        if isinstance(self.shim, Known):
            self.shim.close()


@contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """Of the shim's socket. Through /proc a folder's own length does not count against the 107 bytes that
    a socket's path may have."""
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder_fd}/shim.sock"
    finally:
        os.close(folder_fd)


async def find(folder: Path) -> ShimLink:
    """The shim of the incarnation whose run folder this is, its server started.

    It is vouched for: of this boot, the process that the kernel names at the other end of the socket is the
    one that the folder names, and has the incarnation's mark. Raises ServerError: how its server ended, or
    why it cannot be trusted.
    """
    incarnation = read(folder)
    if incarnation is None or incarnation.boot_id != boot_id():
        raise ServerError("the machine was started anew")
    try:
        with socket_path(folder) as path:
            stream = await trio.open_unix_socket(path)
    except OSError:  # nobody listens any more
        raise ServerError(_last_words(folder)) from None
    try:
        return await _vouched(stream, incarnation, folder)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _vouched(stream: trio.SocketStream, incarnation: Incarnation, folder: Path) -> ShimLink:
    pid = _peer(stream)
    try:
        shim = Known(pid)
    except ProcessLookupError:
        raise ServerError(_last_words(folder)) from None
    try:
        if not _is_the_one(pid, incarnation):
            raise ServerError(f"process {pid} is not its shim")
        link = ShimLink(shim, stream, incarnation.mark)
        with trio.move_on_after(_ANSWERS_MAX_S) as patience:
            await link.started()
        if patience.cancelled_caught:
            raise ServerError(f"its shim, process {pid}, does not answer")
    except BaseException:
        shim.close()
        raise
    return link


def _peer(stream: trio.SocketStream) -> int:
    """The process that listens at the other end: its last caller of listen(2), says unix(7)."""
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert isinstance(credentials, bytes)
    return int(struct.unpack("3i", credentials)[0])


def _is_the_one(pid: int, incarnation: Incarnation) -> bool:
    try:
        same = incarnation.shim_pid is None or (pid, start_time(pid)) == (
            incarnation.shim_pid,
            incarnation.start_time,
        )
    except ProcessLookupError:
        return False
    return same and has_mark(pid, incarnation.mark)


class _Record(msgspec.Struct):
    """`exit.json`, as far as it matters."""

    status: int


def _last_words(folder: Path) -> str:
    with suppress(OSError, msgspec.DecodeError):
        record = msgspec.json.decode((folder / "exit.json").read_bytes(), type=_Record)
        return f"{describe_exit(record.status)} {_AWAY}"
    return f"its shim ended {_AWAY}"


def describe_exit(status: int) -> str:
    """A wait status in words; shells give a signal as 128 + its number."""
    number = -status if status < 0 else status - 128
    with suppress(ValueError):
        name = signal.Signals(number).name
        return f"was killed by {name}" if status < 0 else f"exited with status {status} ({name})"
    return f"exited with status {status}"
