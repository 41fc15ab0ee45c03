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
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
import trio

from carlad.errors import ConfigError, ServerError
from carlad.fleet import cgroup
from carlad.fleet.cgroup import MemoryLimit
from carlad.fleet.marks import Known, boot_id, end_marked, marked
from carlad.fleet.shim import start_time
from carlad.log import get_logger

log = get_logger(__name__)

_CHILD_EXECUTES_MAX_S = 2.0  # on a machine that is very busy
_LOOK_AGAIN_S = 0.01
_SHIM_ENDS_MAX_S = 3.0  # its own grace for the server, and some time to see all go


class Incarnation(msgspec.Struct, frozen=True):
    """`incarnation.json` of a run folder. `start_time`: clock ticks since the boot, of the shim.
    `cgroup`: its own, empty where it has none."""

    mark: str
    boot_id: str
    shim_pid: int | None = None
    start_time: int | None = None
    cgroup: str = ""


def is_used(path: Path) -> bool:
    """Whether a daemon has owned this state directory before."""
    return (path / "lock").exists()


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
    """A child that a daemon was just starting when it was killed holds the lock until it executes."""
    until = time.monotonic() + _CHILD_EXECUTES_MAX_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode()
            if _lives(owner) or time.monotonic() > until:
                in_use = f"{path} is in use by the carlad with pid {owner or '?'}"
                raise ConfigError(f"daemon.state_dir: {in_use}") from None
            time.sleep(_LOOK_AGAIN_S)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _lives(pid: str) -> bool:
    """Another process; our own id is there where this daemon is its own successor."""
    return pid.isdecimal() and int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()


@contextmanager
def run_folder(folder: Path, memory: MemoryLimit | None = None) -> Iterator[Incarnation]:
    """Makes an incarnation's own folder, with its mark in it, and its cgroup; both are removed at the end of
    the block.

    Raises ServerError where they cannot be written.
    """
    mark = secrets.token_hex(8)
    limited = memory.place(mark) if memory is not None else None
    incarnation = Incarnation(mark=mark, boot_id=boot_id(), cgroup="" if limited is None else str(limited))
    try:
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            write(folder, incarnation)
            if memory is not None and limited is not None:
                memory.make(limited)
        except OSError as error:
            raise ServerError(f"cannot start a server: {error}") from error
        yield incarnation
    finally:
        discard(folder, incarnation)


def discard(folder: Path, incarnation: Incarnation | None) -> None:
    """What an incarnation leaves when nothing of it runs any more."""
    if incarnation is not None and incarnation.cgroup:
        cgroup.remove(Path(incarnation.cgroup))
    shutil.rmtree(folder, ignore_errors=True)


def write(folder: Path, incarnation: Incarnation) -> None:
    new = folder / "incarnation.json.new"
    new.write_bytes(msgspec.json.encode(incarnation))
    new.replace(folder / "incarnation.json")


def read(folder: Path) -> Incarnation | None:
    """None where the folder says nothing: its daemon ended before anything was started in it."""
    try:
        return msgspec.json.decode((folder / "incarnation.json").read_bytes(), type=Incarnation)
    except (OSError, msgspec.DecodeError):
        return None


class Leftover(msgspec.Struct, frozen=True):
    """What an earlier daemon left: a run folder, and the processes with its mark."""

    folder: Path
    incarnation: Incarnation | None
    pids: tuple[int, ...]


def leftovers(runs: Path, keep: Collection[Path] = ()) -> list[Leftover]:
    """Looks only. `keep`: folders that are none."""
    return [_leftover(folder) for folder in sorted(runs.iterdir()) if folder not in keep]


def _leftover(folder: Path) -> Leftover:
    incarnation = read(folder)
    of_this_boot = incarnation is not None and incarnation.boot_id == boot_id()
    pids = marked(incarnation.mark) if incarnation is not None and of_this_boot else []
    return Leftover(folder, incarnation, tuple(pids))


async def end_leftovers(runs: Path, keep: Collection[Path] = ()) -> None:
    """Ends what incarnations of an earlier daemon left running, then removes their folders, but for `keep`.

    Something that does not go stays for the next daemon to try, and is logged.
    """
    async with trio.open_nursery() as nursery:
        for left in await trio.to_thread.run_sync(leftovers, runs, keep):
            nursery.start_soon(_end_or_complain, left)


async def end_leftovers_of(folder: Path) -> None:
    """As `end_leftovers`, of one incarnation."""
    await _end_or_complain(await trio.to_thread.run_sync(_leftover, folder))


async def _end_or_complain(left: Leftover) -> None:
    try:
        await end_leftover(left)
    except ServerError as error:
        log.error("leftover.stays", folder=left.folder.name, reason=error)  # noqa: TRY400


async def end_leftover(left: Leftover) -> None:
    """Raises ServerError where something of it does not go; its folder stays then."""
    if left.incarnation is not None and left.incarnation.boot_id == boot_id():
        log.info("leftover.found", folder=left.folder.name, pids=left.pids)
        await _ask_to_end(left.incarnation)
        await end_marked(left.incarnation.mark)
    discard(left.folder, left.incarnation)


async def _ask_to_end(left: Incarnation) -> None:
    """The shim's own way is the best: it knows processes without a mark too, and records the exit."""
    if left.shim_pid is None:
        return
    with suppress(ProcessLookupError), closing(Known(left.shim_pid)) as shim:
        if start_time(left.shim_pid) == left.start_time:
            shim.send(signal.SIGTERM)
            with trio.move_on_after(_SHIM_ENDS_MAX_S):
                await shim.wait()
