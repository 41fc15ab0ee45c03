"""Processes that need not be our children: named by pidfd, found by the mark of their incarnation."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import trio

from carlad.errors import ServerError
from carlad.log import get_logger

log = get_logger(__name__)

MARK = "CARLAD_INCARNATION"  # in the environment of every process of an incarnation
_SWEEP_MAX_S = 5.0  # after SIGKILL only a process inside the kernel lasts longer
_SWEEP_AGAIN_S = 0.02
_CLEAN_LOOKS = 2


class Known:
    """A process that need not be our child, and is never mistaken for another. `close` it in the end.

    Raises ProcessLookupError where there is none.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    async def wait(self) -> None:
        """Until it has ended; one that is our child, as after an upgrade, is buried."""
        await trio.lowlevel.wait_readable(self._pidfd)
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 it does not block

    def close(self) -> None:
        os.close(self._pidfd)


async def end_marked(mark: str) -> None:
    """KILL to every process with this mark until there is none. Raises ServerError if one stays.

    One that is just being executed has an empty environment for a moment: none is none when looked for twice.
    """
    pids: list[int] = []
    clean = 0  # looks in a row
    with trio.move_on_after(_SWEEP_MAX_S):
        while True:
            pids = await trio.to_thread.run_sync(marked, mark)
            clean = 0 if pids else clean + 1
            if clean == _CLEAN_LOOKS:
                return
            if pids:
                log.warning("leftover.killed", pids=pids)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await trio.sleep(_SWEEP_AGAIN_S)
    raise ServerError(f"cannot end processes {pids}: they do not die of SIGKILL")


def marked(mark: str) -> list[int]:
    """The processes whose environment has this mark; zombies have none."""
    entry = f"{MARK}={mark}".encode()
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and entry in _environ(pid)]


def _environ(pid: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def has_mark(pid: int, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in _environ(str(pid))


def is_marked(pid: int) -> bool:
    """Whether it belongs to any incarnation."""
    return any(entry.startswith(f"{MARK}=".encode()) for entry in _environ(str(pid)))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
