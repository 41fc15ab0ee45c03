"""The state directory, its one owner, and what an owner that was killed left running.

Every process of an incarnation has the incarnation's mark in its environment, and the run folder names
the mark before anything is started. So whoever finds the folder finds the processes, whichever of
daemon, shim and launcher died.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import trio

from carlad.errors import ConfigError, ServerError
from carlad.fleet.shim import start_time
from carlad.log import get_logger

log = get_logger(__name__)

MARK = "CARLAD_INCARNATION"
_SHIM_ENDS_MAX_S = 3.0  # its own grace for the server, and some time to see all go
_SWEEP_MAX_S = 5.0  # after SIGKILL only a process inside the kernel lasts longer
_SWEEP_AGAIN_S = 0.02


class Incarnation(msgspec.Struct, frozen=True):
    """`incarnation.json` of a run folder. `start_time`: clock ticks since the boot, of the shim."""

    mark: str
    boot_id: str
    shim_pid: int | None = None
    start_time: int | None = None


@contextmanager
def state_directory(path: Path) -> Iterator[Path]:
    """The folder of runs inside `path`, owned by this daemon until the end of the block.

    Raises ConfigError where it cannot be written or another daemon owns it.
    """
    runs = path / "run"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        runs.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"daemon.state_dir: cannot use {path}: {error.strerror}") from error
    try:
        _lock(lock, path)
        yield runs
    finally:
        os.close(lock)


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode() or "?"
        raise ConfigError(f"daemon.state_dir: {path} is in use by the carlad with pid {owner}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


@contextmanager
def run_folder(folder: Path) -> Iterator[Incarnation]:
    """Makes an incarnation's own folder, with its mark in it, and removes it at the end of the block.

    Raises ServerError where it cannot be written.
    """
    incarnation = Incarnation(mark=secrets.token_hex(8), boot_id=_boot_id())
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        write(folder, incarnation)
    except OSError as error:
        raise ServerError(f"cannot start a server: {error}") from error
    try:
        yield incarnation
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(folder: Path, incarnation: Incarnation) -> None:
    new = folder / "incarnation.json.new"
    new.write_bytes(msgspec.json.encode(incarnation))
    new.replace(folder / "incarnation.json")


async def end_leftovers(runs: Path) -> None:
    """Ends what incarnations of an earlier daemon left running, then removes their folders.

    Raises ServerError where something does not go.
    """
    async with trio.open_nursery() as nursery:
        for folder in _folders(runs):
            nursery.start_soon(_end_leftover, folder)


def _folders(runs: Path) -> list[Path]:
    return sorted(runs.iterdir())


async def _end_leftover(folder: Path) -> None:
    with suppress(FileNotFoundError, msgspec.DecodeError):
        left = msgspec.json.decode((folder / "incarnation.json").read_bytes(), type=Incarnation)
        if left.boot_id == _boot_id():
            log.info("leftover.found", folder=folder.name, shim_pid=left.shim_pid)
            await _ask_to_end(left)
            await end_marked(left.mark)
    shutil.rmtree(folder, ignore_errors=True)


async def _ask_to_end(left: Incarnation) -> None:
    """The shim's own way is the best: it knows processes without a mark too, and records the exit."""
    if left.shim_pid is None:
        return
    with suppress(ProcessLookupError):
        shim = os.pidfd_open(left.shim_pid)
        try:
            if start_time(left.shim_pid) == left.start_time:
                signal.pidfd_send_signal(shim, signal.SIGTERM)
                with trio.move_on_after(_SHIM_ENDS_MAX_S):
                    await trio.lowlevel.wait_readable(shim)
        finally:
            os.close(shim)


async def end_marked(mark: str) -> None:
    """KILL to every process with this mark until there is none. Raises ServerError if one stays."""
    pids: list[int] = []
    with trio.move_on_after(_SWEEP_MAX_S):
        while pids := await trio.to_thread.run_sync(marked, mark):
            log.warning("leftover.killed", pids=pids)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await trio.sleep(_SWEEP_AGAIN_S)
        return
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


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
