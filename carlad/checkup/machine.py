"""What carlad stands on: disk, memory, limits, clock, cgroup and systemd."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from carlad.checkup.asking import output
from carlad.checkup.finding import Finding, fine, note, warning, wrong
from carlad.config import Config
from carlad.fleet.cgroup import NotDelegatedError, own_cgroup

_FILES_OF_DAEMON = 256
_FILES_OF_SLOT = 16  # pidfd, sockets to shim and server, probes
_THREADS_OF_SERVER = 300  # CARLA's task graph, RPC and streaming threads, and its Traffic Manager's
_MEMORY_OF_SERVER = 2 << 30  # about, with a town; the stand-in takes a tenth


def disk(config: Config) -> Iterator[Finding]:
    for key, folder in (("state_dir", config.daemon.state_dir), ("log_dir", config.daemon.log_dir)):
        there = _existing(Path(folder))
        if not os.access(there, os.W_OK):
            yield wrong(
                f"daemon.{key}",
                f"{there} cannot be written",
                f"give {folder} to carlad's user, or choose another",
            )
    needed = int(config.fleet.size * config.logs.files_max * config.logs.file_mib * (1 << 20))
    yield room_on_disk(
        config.daemon.log_dir, shutil.disk_usage(_existing(Path(config.daemon.log_dir))).free, needed
    )


def room_on_disk(folder: str, free: int, needed: int) -> Finding:
    """`needed`: what the logs may grow to, in bytes."""
    found = f"{_gib(free)} free for {folder}; logs take up to {_gib(needed)}"
    return (
        fine("disk", found)
        if free > 2 * needed
        else warning("disk", found, "make room, or move daemon.log_dir")
    )


def memory(config: Config) -> Iterator[Finding]:
    available = psutil.virtual_memory().available
    each = _MEMORY_OF_SERVER if config.fleet.backend != "standin" else _MEMORY_OF_SERVER // 10
    fit = available // each
    found = f"{_gib(available)} available for {config.fleet.size} servers"
    if fit < config.fleet.size:
        yield warning("memory", found, f"fleet.size = {fit}: each takes about {_gib(each)}")
    else:
        yield fine("memory", found)


def limits(config: Config) -> Iterator[Finding]:
    files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield enough(
        "open files",
        files,
        _FILES_OF_DAEMON + _FILES_OF_SLOT * config.fleet.size,
        "LimitNOFILE=, or ulimit -n",
    )
    threads, _hard = resource.getrlimit(resource.RLIMIT_NPROC)
    needed = _THREADS_OF_SERVER * config.fleet.size
    yield enough("processes", threads, needed, "LimitNPROC=, or ulimit -u")
    tasks = _cgroup() / "pids.max"
    if tasks.is_file() and (text := tasks.read_text().strip()) != "max":
        yield enough("tasks of the cgroup", int(text), needed, "TasksMax=infinity in the unit")


def enough(name: str, limit: int, needed: int, how: str) -> Finding:
    if limit in (resource.RLIM_INFINITY, -1):
        return fine(name, "no limit")
    if limit >= needed:
        return fine(name, f"{limit}; about {needed} are needed")
    return warning(name, f"at most {limit}; about {needed} are needed", f"raise it: {how}")


def clock(_config: Config) -> Iterator[Finding]:
    """Leases do not depend on the time of day; logs of several machines do."""
    told = output("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    if told is None:
        yield note("clock", "whether it is set by NTP cannot be seen here")
    elif told.strip() == "yes":
        yield fine("clock", "is set by NTP")
    else:
        yield warning(
            "clock",
            "is not set by NTP: logs of several machines cannot be compared",
            "timedatectl set-ntp true",
        )


def service(_config: Config) -> Iterator[Finding]:
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        yield note(
            "cgroup",
            "version 1: resource limits for servers need version 2",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    else:
        yield fine("cgroup", f"version 2, in {_cgroup()}")
    if not Path("/run/systemd/system").is_dir():
        yield note("systemd", "does not run here: nobody restarts carlad")
        return
    state = output("systemctl", "is-enabled", "carlad.service")
    if state is None or state.strip() != "enabled":
        yield note("systemd", "carlad.service is not enabled", "systemctl enable --now carlad")
    else:
        yield fine("systemd", "carlad.service is enabled")


def _cgroup() -> Path:
    """Of this process, version 2."""
    with suppress(NotDelegatedError):
        return own_cgroup()
    return Path("/sys/fs/cgroup")


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
