"""Running a command on a leased server: `carlactl lease --exec`."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from carlad.cli.command import Exit

if TYPE_CHECKING:
    from carlad.client import Lease

_LOST = signal.SIGALRM  # we send it to ourselves, so that one wait is enough for everything
_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_AWAITED = {*_FORWARDED, _LOST, signal.SIGCHLD}
_FROM_TERMINAL = 0x80  # si_code SI_KERNEL: the terminal's whole foreground group has got it
_GRACE_S = 10.0  # for a command whose server is gone, between TERM and KILL
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as shells say it

_libc = ctypes.CDLL(None)


def why_not(command: Sequence[str]) -> tuple[int, str] | None:
    """The exit code and the reason where `command` cannot be run at all."""
    if shutil.which(command[0]) is not None:
        return None
    if os.path.exists(command[0]):
        return _CANNOT_RUN, f"cannot run {command[0]}: it is not executable"
    return _NOT_FOUND, f"cannot run {command[0]}: there is no such command"


def run(command: Sequence[str], lease_now: Callable[[Callable[[Lease], None]], Lease]) -> int:
    """The exit code of `command`, or of a shell's for its signal; LEASE_LOST if the lease is lost meanwhile.

    `lease_now` makes the lease, given whom to tell of its loss. Signals for this process go to the command.
    The command dies with this process, and the lease is released when the command has ended.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)  # threads that are started now inherit it
    try:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # so that a lost lease finds all that it started
        with lease_now(lambda _lease: os.kill(os.getpid(), _LOST)) as lease:
            environ = {**os.environ, **_environ(lease)}
            try:
                process = subprocess.Popen(command, env=environ, preexec_fn=lambda: _prepare(before))
            except OSError as error:
                print(f"carlactl: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
                return _CANNOT_RUN
            return _attend(process, lease)
    finally:
        while signal.sigtimedwait(_AWAITED, 0) is not None:
            pass  # what came too late is nobody's any more
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environ(lease: Lease) -> Mapping[str, str]:
    return {
        "CARLA_HOST": lease.host,
        "CARLA_PORT": str(lease.port),
        "CARLA_STREAMING_PORT": str(lease.streaming_port),
        "CARLA_TM_PORT": str(lease.traffic_manager_port),
        "CARLAD_LEASE": lease.lease_id,
    }


def _prepare(mask: set[signal.Signals | int]) -> None:
    """In the new process: it hears signals as we did, and ends with us, whatever ends us."""
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def die_with_parent() -> None:
    """In a new process: it gets SIGTERM when the one that started it has ended, whatever ended that."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _attend(process: subprocess.Popen[bytes], lease: Lease) -> int:
    kill_at_s: float | None = None
    while process.poll() is None:
        heard = _wait(kill_at_s)
        if heard is None:
            _signal_all(signal.SIGKILL)
        elif heard.si_signo == _LOST and kill_at_s is None:
            print(f"carlactl: {lease.lease_id} is lost: {lease.lost_reason}", file=sys.stderr)
            _signal_all(signal.SIGTERM)
            kill_at_s = time.monotonic() + _GRACE_S
        elif heard.si_signo in _FORWARDED and heard.si_code != _FROM_TERMINAL:
            process.send_signal(heard.si_signo)
    if kill_at_s is not None:
        _signal_all(signal.SIGKILL)
        return Exit.LEASE_LOST
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait(until_s: float | None) -> signal.struct_siginfo | None:
    """The next signal; None when the time has come."""
    if until_s is None:
        return signal.sigwaitinfo(_AWAITED)
    return signal.sigtimedwait(_AWAITED, max(0.0, until_s - time.monotonic()))


def _signal_all(number: int) -> None:
    """To the command and whatever it started, orphans included."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
