"""How a daemon makes way for a newly started one: its process executes carlad anew.

Nothing is handed over. What must survive is on disk and in the shims already, as it has to be for a daemon
that is killed; so the two are one way, and the one that is tested at every write. The process keeps its id:
a service manager or a shell sees the same service go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import NoReturn

import trio

from carlad.errors import ConfigError

# What means something to a daemon and would end one that does not listen yet.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
_CHECK_MAX_S = 30.0  # an interpreter with its imports; a second, where a machine has nothing else to do


async def check_successor() -> None:
    """Raises ConfigError where carlad, as it is installed and configured now, would not start."""
    with trio.move_on_after(_CHECK_MAX_S):
        done = await trio.run_process(
            [*_command(), "--check"], check=False, stdin=subprocess.DEVNULL, capture_stderr=True
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"it exits with {done.returncode}"
            raise ConfigError(f"cannot upgrade, this daemon goes on: {why}")
        return
    raise ConfigError(f"cannot upgrade, this daemon goes on: no verdict within {_CHECK_MAX_S:g} s")


def become_successor() -> NoReturn:
    """Signals wait for the successor. Raises OSError, and then this daemon goes on."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        os.execv(sys.executable, _command())
    finally:
        listen()


def listen() -> None:
    """Signals are delivered from now on, and those that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _command() -> list[str]:
    """As this process was started."""
    return [sys.executable, *sys.orig_argv[1:]]
