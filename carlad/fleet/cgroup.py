"""A limit of memory for servers: a cgroup (version 2) for each incarnation, where there is one to divide.

    OURS            where the daemon was started, as by a systemd unit with Delegate=
      daemon        daemon and shims: a cgroup that limits others below it may have no processes of its own
      server-MARK   an incarnation's processes: memory.max, and all die together of it

See cgroups(7), "no internal processes", and the kernel's cgroup-v2.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from carlad.errors import CarladError
from carlad.fleet.marks import is_marked
from carlad.fleet.shim import descendants
from carlad.log import get_logger

log = get_logger(__name__)

_MOUNTS, _OWN = Path("/proc/self/mounts"), Path("/proc/self/cgroup")
_LEAF = "daemon"
_ROUNDS_MAX = 10  # of moving processes that fork meanwhile
_REMEDY = (
    "start carlad as a service of systemd 254 or newer with Delegate=yes and DelegateSubgroup=daemon, as "
    "`carlactl install --systemd` does; or set resources.memory_max_mb to 0 and see recycle.rss_max_mb"
)


class NotDelegatedError(CarladError):
    """No cgroup is ours to divide, or its kernel has none with this controller; says why."""


class Found(msgspec.Struct, frozen=True):
    """A cgroup as it was seen; `controllers` that may be passed on to those below it."""

    folder: Path
    controllers: frozenset[str]
    is_writable: bool
    strangers: int  # processes in it that are not ours


def obstacle(found: Found, controller: str) -> str | None:
    """Why limits cannot be set below it, or None. Pure."""
    if controller not in found.controllers:
        return f"{found.folder} has no controller {controller}"
    if not found.is_writable:
        return f"{found.folder} is not delegated to carlad's user"
    if found.strangers:
        return f"{found.folder} is shared with {found.strangers} other processes"
    return None


def claim(controller: str = "memory") -> Path:
    """The cgroup below which limits can be set from now on; daemon and shims have moved out of the way.

    Raises NotDelegatedError; limits cannot be set then, and nothing is worse than before.
    """
    folder = own_cgroup()
    ours = folder.parent if folder.name == _LEAF else folder
    try:
        why = obstacle(_look(ours), controller)
        if why is not None:
            raise NotDelegatedError(why)
        control = ours / "cgroup.subtree_control"
        if controller not in control.read_text().split():
            _vacate(ours)
            control.write_text(f"+{controller}")
    except OSError as error:
        raise NotDelegatedError(f"cannot divide {ours}: {error.strerror}") from error
    return ours


def own_cgroup() -> Path:
    """This process's, of version 2. Raises NotDelegatedError where there is none."""
    mounted = re.search(r"^\S+ (\S+) cgroup2 ", _MOUNTS.read_text(), re.MULTILINE)
    path = re.search(r"^0::/(.*)$", _OWN.read_text(), re.MULTILINE)
    if mounted is None or path is None:
        raise NotDelegatedError("this machine has no cgroups of version 2")
    return Path(mounted[1]) / path[1]


def _look(folder: Path) -> Found:
    files = (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control")
    return Found(
        folder=folder,
        controllers=frozenset((folder / "cgroup.controllers").read_text().split()),
        is_writable=all(os.access(file, os.W_OK) for file in files),
        strangers=sum(not is_marked(pid) for pid in _processes(folder) - _own_processes()),
    )


def _own_processes() -> set[int]:
    return {os.getpid(), *descendants(os.getpid())}


def _processes(folder: Path) -> set[int]:
    return set(map(int, (folder / "cgroup.procs").read_text().split()))


def _vacate(folder: Path) -> None:
    """Shims and servers of a time without a limit are moved, too."""
    leaf = folder / _LEAF
    leaf.mkdir(exist_ok=True)
    for _round in range(_ROUNDS_MAX):
        for pid in _processes(folder):
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid))


class MemoryLimit:
    """Of each server. Where no cgroup is delegated it warns once, and there is no limit."""

    def __init__(self, max_mb: int) -> None:
        """In MiB, as docker's."""
        self._max_bytes = max_mb << 20
        self._is_possible = True

    def place(self, mark: str) -> Path | None:
        """Where the cgroup of an incarnation is to be."""
        if not self._is_possible:
            return None
        try:
            return claim() / f"server-{mark}"
        except NotDelegatedError as error:
            self._is_possible = False
            log.warning("memory.not_limited", reason=error, remedy=_REMEDY)
            return None

    def make(self, cgroup: Path) -> None:
        """Raises OSError."""
        cgroup.mkdir()
        (cgroup / "memory.max").write_text(str(self._max_bytes))
        (cgroup / "memory.oom.group").write_text("1")
        with suppress(OSError):  # a kernel without swap has none to keep it from
            (cgroup / "memory.swap.max").write_text("0")


def memory_limit(max_mb: int) -> MemoryLimit | None:
    return MemoryLimit(max_mb) if max_mb else None


def remove(cgroup: Path) -> None:
    """Of an incarnation of which nothing is left. One of an earlier boot is not there any more."""
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("cgroup.stays", cgroup=cgroup, reason=error)
