"""Who watches over the daemon where there is no systemd: starts it, hears it, kills and restarts it.

It speaks systemd's protocol to it (sd_notify, with a watchdog). A daemon that falls silent is killed, one
that fails is started again, and finds its servers where the one before it left them: they, leases and steps
go on. Engines cannot do this: they only know how to end a whole container, and few end one that hangs.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import trio

from carlad.log import get_logger
from carlad.runtime import RestartPolicy, Restarts

log = get_logger(__name__)

READY_WITHIN_S = 60.0
FAILED = 1

_POLICY = RestartPolicy(backoff_s=0.2, backoff_max_s=5.0, restarts_max=10, period_s=300.0)
_FINAL = frozenset({0, 2})  # it was told to end, or cannot use its configuration
_MESSAGE_BYTES_MAX = 4096
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


class Watch:
    """`command` is the daemon's; `folder` takes the socket that it speaks to. One `run` for each."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        watchdog_s: float,
        policy: RestartPolicy = _POLICY,
    ) -> None:
        self._command = command
        self._socket = folder / "notify.sock"
        self._watchdog_s = watchdog_s
        self._environ = {
            **environ,
            "NOTIFY_SOCKET": str(self._socket),
            "WATCHDOG_USEC": str(int(1e6 * watchdog_s)),
        }
        self._environ.pop("WATCHDOG_PID", None)
        self._restarts = Restarts(policy, Random())
        self._process: trio.Process | None = None
        self._is_ending = False

    async def run(self) -> int:
        """Until the daemon ends as it was told to, or for good. Returns the container's exit code."""
        with trio.open_signal_receiver(*_FORWARDED) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._forward, signals)
                code = await self._keep_running()
                nursery.cancel_scope.cancel()
        return code

    async def _keep_running(self) -> int:
        while True:
            started_s = trio.current_time()
            code = await self._run_once()
            if code in _FINAL or self._is_ending:
                return code if code >= 0 else 128 - code
            self._restarts.ran(trio.current_time() - started_s)
            backoff_s = self._restarts.failed()
            if backoff_s is None:
                log.error("daemon.given-up", exit_code=code)
                return FAILED
            log.warning("daemon.restarting", exit_code=code, backoff_s=round(backoff_s, 1))
            await trio.sleep(backoff_s)
            if self._is_ending:
                return 0

    async def _run_once(self) -> int:
        """Its exit code; negative for a signal's."""
        with _listening(self._socket) as heard:
            process = self._process = await trio.lowlevel.open_process(self._command, env=self._environ)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear, heard, process)
                code = await process.wait()
                nursery.cancel_scope.cancel()
        return code

    async def _hear(self, heard: trio.socket.SocketType, process: trio.Process) -> None:
        """Kills it when it has been silent for too long."""
        within_s, deadline_s = READY_WITHIN_S, trio.current_time() + READY_WITHIN_S
        while True:
            with trio.move_on_at(deadline_s) as patience:
                words = (await heard.recv(_MESSAGE_BYTES_MAX)).split(b"\n")
            if patience.cancelled_caught:
                log.error("daemon.silent", pid=process.pid, for_s=within_s)
                process.kill()
                return
            if b"STOPPING=1" in words:
                deadline_s = float("inf")  # who told it so has a patience of its own
            elif b"READY=1" in words or b"WATCHDOG=1" in words:
                within_s, deadline_s = self._watchdog_s, trio.current_time() + self._watchdog_s

    async def _forward(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._is_ending = self._is_ending or number in _ENDING
            if self._process is not None and self._process.returncode is None:
                self._process.send_signal(number)


@contextmanager
def _listening(path: Path) -> Iterator[trio.socket.SocketType]:
    path.unlink(missing_ok=True)
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with trio.socket.from_stdlib_socket(plain) as heard:
        plain.bind(os.fspath(path))
        try:
            yield heard
        finally:
            path.unlink(missing_ok=True)
