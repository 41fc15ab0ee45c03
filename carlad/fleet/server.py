"""One incarnation of a server, seen through its shim."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet import logs
from carlad.fleet.backends.interface import Launch, Serving
from carlad.fleet.leftovers import MARK, Incarnation, end_marked, run_folder, write
from carlad.fleet.ports import Ports, listener_among
from carlad.fleet.shim import descendants, start_time
from carlad.log import get_logger

log = get_logger(__name__)

STOP_GRACE_S = 1.0  # CARLA saves nothing at its end: TERM is a courtesy
ORPHAN_GRACE_S = 3.0  # without its daemon a server is of no use to anybody
_GONE_MAX_S = 3.0  # after KILL; the kernel frees gigabytes first
_SHIM = Path(__file__).with_name("shim.py")


class _Event(msgspec.Struct, frozen=True, tag_field="event"):
    """What a shim says, see shim.py."""


class _Started(_Event, frozen=True, tag="started"):
    pid: int
    start_time: int


class _Failed(_Event, frozen=True, tag="failed"):
    why: str


class _Exited(_Event, frozen=True, tag="exited"):
    status: int
    dropped_bytes: int


class _Gone(_Event, frozen=True, tag="gone"):
    pass


_ShimEvent = _Started | _Failed | _Exited | _Gone
_decoder: msgspec.json.Decoder[_ShimEvent] = msgspec.json.Decoder(_ShimEvent)


@asynccontextmanager
async def running(launch: Launch, folder: Path, log_path: Path, hurry: trio.Event) -> AsyncIterator[Server]:
    """A started server. At the end of the block its whole tree has ended: TERM, then KILL.

    `folder` is this incarnation's own and removed with it. `hurry` skips the grace between TERM and KILL.
    Raises ServerError where it cannot be started, or where something of it does not die.
    """
    with run_folder(folder) as incarnation:
        server = await _start_shim(folder, incarnation)
        try:
            await server._begin(_order(launch, folder, log_path, incarnation.mark))
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server._end(hurry)


class Server:
    """`pid`: the process that the shim started; a launcher's, where one forks the real server."""

    def __init__(self, shim: trio.Process, link: trio.SocketStream, mark: str) -> None:
        self._shim = shim
        self._link = link
        self._mark = mark
        self._heard = b""
        self._events: deque[_ShimEvent] = deque()
        self.pid = 0

    async def ended(self) -> str:
        """Waits until the server ends by itself, and says how. Its descendants may still be there."""
        while True:
            event = await self._event()
            if event is None:
                return "its shim ended unexpectedly"
            if isinstance(event, _Exited):
                return describe_exit(event.status)

    def tree(self) -> tuple[int, ...]:
        """The pids of the server and everything below it."""
        return tuple(descendants(self._shim.pid))

    def listener(self, ports: Ports) -> Serving | None:
        """As backends/interface.py has it."""
        pid = listener_among(self.tree(), ports)
        return Serving(pid) if pid else None

    async def _begin(self, order: bytes) -> None:
        """Returns once the server's process runs. Raises ServerError."""
        assert self._shim.stdin is not None
        try:
            async with self._shim.stdin as stdin:
                await stdin.send_all(order)
            event = await self._event()
        except trio.BrokenResourceError:
            event = None
        if isinstance(event, _Started):
            self.pid = event.pid
        elif isinstance(event, _Failed):
            raise ServerError(event.why)
        else:
            raise ServerError("cannot start a shim: it ended at once, see the daemon's own log")

    async def _end(self, hurry: trio.Event) -> None:
        """Returns when nothing of the tree is left. Raises ServerError where something is."""
        gone = False
        with trio.move_on_after(STOP_GRACE_S + _GONE_MAX_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop, hurry)
                gone = await self._gone()
                nursery.cancel_scope.cancel()
        await self._link.aclose()
        if not gone:
            self._shim.kill()
            await end_marked(self._mark)
        await self._shim.wait()

    async def _stop(self, hurry: trio.Event) -> None:
        if not hurry.is_set():
            await self._order_stop(STOP_GRACE_S)
            await hurry.wait()
        await self._order_stop(0.0)

    async def _order_stop(self, grace_s: float) -> None:
        with suppress(trio.BrokenResourceError):  # a shim that is gone is noticed by who reads
            await self._link.send_all(msgspec.json.encode({"stop": grace_s}) + b"\n")

    async def _gone(self) -> bool:
        while event := await self._event():
            if isinstance(event, _Gone):
                return True
        return False

    async def _event(self) -> _ShimEvent | None:
        """The shim's next word; None when it is no more. May be cancelled without losing one."""
        while not self._events:
            try:
                data = await self._link.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return None
            *lines, self._heard = (self._heard + data).split(b"\n")
            self._events.extend(_decoder.decode(line) for line in lines)
        return self._events.popleft()


def describe_exit(status: int) -> str:
    """A wait status in words; shells give a signal as 128 + its number."""
    number = -status if status < 0 else status - 128
    with suppress(ValueError):
        name = signal.Signals(number).name
        return f"was killed by {name}" if status < 0 else f"exited with status {status} ({name})"
    return f"exited with status {status}"


def _order(launch: Launch, folder: Path, log_path: Path, mark: str) -> bytes:
    return msgspec.json.encode(
        {
            "argv": launch.argv,
            "environ": launch.environ | {MARK: mark},
            "cwd": launch.cwd,
            "run_dir": str(folder),
            "log_path": str(log_path),
            "log_bytes_max": logs.BYTES_MAX,
            "log_files_max": logs.FILES_MAX,
            "stop_grace_s": STOP_GRACE_S,
            "orphan_grace_s": ORPHAN_GRACE_S,
        }
    )


async def _start_shim(folder: Path, incarnation: Incarnation) -> Server:
    try:
        # Through /proc the folder's own length does not count against the 107 bytes of a socket's path.
        folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return await _start_shim_in(folder, f"/proc/self/fd/{folder_fd}/shim.sock", incarnation)
        finally:
            os.close(folder_fd)
    except OSError as error:
        raise ServerError(f"cannot start a shim: {error}") from error


async def _start_shim_in(folder: Path, socket_path: str, incarnation: Incarnation) -> Server:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(socket_path)
        listener.listen()
        shim = await _spawn(listener.fileno(), incarnation.mark)
    with suppress(ProcessLookupError):
        known = msgspec.structs.replace(incarnation, shim_pid=shim.pid, start_time=start_time(shim.pid))
        write(folder, known)
    with trio.CancelScope(shield=True):  # the listener was there before the shim: this does not wait
        link = await trio.open_unix_socket(socket_path)
    return Server(shim, link, incarnation.mark)


async def _spawn(listener_fd: int, mark: str) -> trio.Process:
    return await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", str(_SHIM), str(listener_fd)],
        stdin=subprocess.PIPE,
        pass_fds=[listener_fd],
        start_new_session=True,
        env={MARK: mark, "LC_ALL": "C.UTF-8"},
        cwd="/",
    )
