"""Simulators on this machine, whoever started them: for `carlactl server kill`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil

_CARLA = "CarlaUE4"  # CarlaUE4.sh, CarlaUE4-Linux-Shipping; a kernel's name is cut at 15 bytes
_STANDIN = "carlad.standin"
_SHIM = "carlad/fleet/shim.py"
_TERM_MAX_S = 5.0
_KILL_MAX_S = 5.0


class Simulator(NamedTuple):
    """`watched`: a carlad would start another one in its place."""

    process: psutil.Process
    command: str
    user: str
    age_s: float
    ports: tuple[int, ...]
    watched: bool


def simulators(port: int | None = None) -> list[Simulator]:
    """All, or those that listen on `port`; oldest first."""
    found = [_simulator(process) for process in psutil.process_iter() if _is_simulator(process)]
    of_port = [one for one in found if one is not None and (port is None or port in one.ports)]
    return sorted(of_port, key=lambda one: -one.age_s)


def kill(targets: Iterable[Simulator]) -> list[Simulator]:
    """TERM, then KILL. Those that are left: another user's, or stuck in the kernel."""
    targets = list(targets)
    for step, patience_s in ((psutil.Process.terminate, _TERM_MAX_S), (psutil.Process.kill, _KILL_MAX_S)):
        for target in targets:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                step(target.process)
        psutil.wait_procs([target.process for target in targets], patience_s)
    return [target for target in targets if target.process.is_running() and not _is_zombie(target.process)]


def _is_simulator(process: psutil.Process) -> bool:
    try:
        name, command = process.name(), process.cmdline()
    except psutil.Error:
        return False
    is_standin = _STANDIN in command[1:4]  # python -m carlad.standin
    return is_standin or name.startswith(_CARLA) or any(_is_script(word) for word in command[:2])


def _is_script(word: str) -> bool:
    return word.rpartition("/")[2] == "CarlaUE4.sh"


def _simulator(process: psutil.Process) -> Simulator | None:
    try:
        with process.oneshot():
            return Simulator(
                process=process,
                command=" ".join(process.cmdline())[:200],
                user=process.username(),
                age_s=time.time() - process.create_time(),
                ports=_ports(process),
                watched=any(_SHIM in " ".join(parent.cmdline()) for parent in process.parents()),
            )
    except psutil.Error:
        return None


def _ports(process: psutil.Process) -> tuple[int, ...]:
    try:
        listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except psutil.AccessDenied:  # another user's
        return ()
    return tuple(sorted({connection.laddr.port for connection in listening}))


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
