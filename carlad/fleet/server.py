"""One incarnation of a server, seen through its shim."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from carlad.config import LogsSection
from carlad.errors import ServerError
from carlad.fleet import logs
from carlad.fleet.autopsy import kernel_kills
from carlad.fleet.backends.interface import Launch, Serving
from carlad.fleet.cgroup import MemoryLimit
from carlad.fleet.leftovers import Incarnation, discard, read, run_folder, write
from carlad.fleet.marks import MARK, end_marked
from carlad.fleet.ports import Ports, listener_among
from carlad.fleet.shim import descendants, start_time
from carlad.fleet.shim_link import Exited, Gone, ShimLink, describe_exit, socket_path

STOP_GRACE_S = 1.0  # CARLA saves nothing at its end: TERM is a courtesy
_GONE_MAX_S = 3.0  # after KILL; the kernel frees gigabytes first
_SHIM = Path(__file__).with_name("shim.py")
_SHIM_LOG = "shim.log"  # in the run folder: empty, or the traceback that it died of


@asynccontextmanager
async def running(
    launch: Launch,
    folder: Path,
    log_path: Path,
    hurry: trio.Event,
    limits: LogsSection,
    memory: MemoryLimit | None = None,
) -> AsyncIterator[Server]:
    """A started server. At the end of the block its whole tree has ended: TERM, then KILL.

    `folder` is this incarnation's own and removed with it. `hurry` skips the grace between TERM and KILL.
    Raises ServerError where it cannot be started, or where something of it does not die.
    """
    with run_folder(folder, memory) as incarnation:
        link, stdin = await _start_shim(folder, incarnation)
        server = Server(link, folder, incarnation.cgroup)
        try:
            await _instruct(stdin, _order(launch, folder, log_path, limits, incarnation))
            await link.started()
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server._end(hurry)


@asynccontextmanager
async def adopted(link: ShimLink, folder: Path, hurry: trio.Event) -> AsyncIterator[Server]:
    """As `running`, of a server that an earlier daemon started; `link` is from `find`."""
    incarnation = read(folder)
    server = Server(link, folder, incarnation.cgroup if incarnation is not None else "")
    try:
        yield server
    finally:
        with trio.CancelScope(shield=True):
            await server._end(hurry)
        discard(folder, incarnation)


class Server:
    """`pid`: the process that the shim started; a launcher's, where one forks the real server."""

    def __init__(self, link: ShimLink, folder: Path, cgroup: str = "") -> None:
        """In a `cgroup` of its own the kernel counts what it kills there; else on the whole machine."""
        self._link = link
        self._shim_log = folder / _SHIM_LOG
        self._kills = partial(kernel_kills, Path(cgroup, "memory.events")) if cgroup else kernel_kills
        self._kills_before = 0 if cgroup else self._kills()

    @property
    def pid(self) -> int:
        return self._link.pid

    async def ended(self) -> str:
        """Waits until the server ends by itself, and says how. Its descendants may still be there."""
        while True:
            event = await self._link.event()
            if event is None:
                return f"its shim ended unexpectedly{self._shims_last_line()}"
            if isinstance(event, Exited):
                return describe_exit(event.status)

    def tree(self) -> tuple[int, ...]:
        """The pids of the server and everything below it."""
        return tuple(descendants(self._link.shim.pid))

    def ran_out_of_memory(self) -> bool:
        """As backends/interface.py has it."""
        with suppress(FileNotFoundError):  # somebody has removed the cgroup
            return self._kills() > self._kills_before
        return False

    def listener(self, ports: Ports) -> Serving | None:
        """As backends/interface.py has it."""
        pid = listener_among(self.tree(), ports)
        return Serving(pid) if pid else None

    def _shims_last_line(self) -> str:
        lines = logs.tail(self._shim_log, 1)
        return f": {lines[0]}" if lines else ""

    async def _end(self, hurry: trio.Event) -> None:
        """Returns when nothing of the tree is left. Raises ServerError where something is."""
        try:
            if not await self._stopped(hurry):
                self._link.shim.kill()
                await end_marked(self._link.mark)
            await self._link.shim.wait()
        finally:
            await self._link.aclose()

    async def _stopped(self, hurry: trio.Event) -> bool:
        """Whether the shim ended all."""
        gone = False
        with trio.move_on_after(STOP_GRACE_S + _GONE_MAX_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop, hurry)
                gone = await self._gone()
                nursery.cancel_scope.cancel()
        return gone

    async def _stop(self, hurry: trio.Event) -> None:
        if not hurry.is_set():
            await self._link.order_stop(STOP_GRACE_S)
            await hurry.wait()
        await self._link.order_stop(0.0)

    async def _gone(self) -> bool:
        while event := await self._link.event():
            if isinstance(event, Gone):
                return True
        return False


def _order(
    launch: Launch, folder: Path, log_path: Path, limits: LogsSection, incarnation: Incarnation
) -> bytes:
    return msgspec.json.encode(
        {
            "argv": launch.argv,
            "environ": launch.environ | {MARK: incarnation.mark},
            "cwd": launch.cwd,
            "run_dir": str(folder),
            "log_path": str(log_path),
            "log_bytes_max": int(limits.file_mib * (1 << 20)),
            "log_files_max": limits.files_max,
            "log_age_max_s": limits.age_max_s,
            "log_compress": limits.compress,
            "log_stamps": limits.stamps,
            "stop_grace_s": STOP_GRACE_S,
            "cgroup": incarnation.cgroup,
        }
    )


async def _start_shim(folder: Path, incarnation: Incarnation) -> tuple[ShimLink, trio.abc.SendStream]:
    """A shim that waits for its order, and where to send that."""
    try:
        with socket_path(folder) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen()
            shim = await _spawn(listener.fileno(), folder, incarnation.mark)
            with suppress(ProcessLookupError):
                started = start_time(shim.pid)
                write(folder, msgspec.structs.replace(incarnation, shim_pid=shim.pid, start_time=started))
            with trio.CancelScope(shield=True):  # the listener was there first: this does not wait
                link = ShimLink(shim, await trio.open_unix_socket(path), incarnation.mark)
    except OSError as error:
        raise ServerError(f"cannot start a shim: {error}") from error
    assert shim.stdin is not None
    return link, shim.stdin


async def _spawn(listener_fd: int, folder: Path, mark: str) -> trio.Process:
    """Nothing of the daemon's own is left open in it: who reads the daemon's output sees its end."""
    with (folder / _SHIM_LOG).open("ab") as shim_log:
        return await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", str(_SHIM), str(listener_fd)],
            stdin=subprocess.PIPE,
            stdout=shim_log,
            stderr=shim_log,
            pass_fds=[listener_fd],
            start_new_session=True,
            env={MARK: mark, "LC_ALL": "C.UTF-8"},
            cwd="/",
        )


async def _instruct(stdin: trio.abc.SendStream, order: bytes) -> None:
    """From then on the shim does without its daemon."""
    with suppress(trio.BrokenResourceError):  # it is gone, as who listens to it is told
        async with stdin:
            await stdin.send_all(order)
