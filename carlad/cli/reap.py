"""What a daemon that is gone for good left running."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli.command import add_command

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.config import Config
    from carlad.fleet.leftovers import Leftover

_ASK_MAX_S = 10.0


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "reap",
        _reap,
        "End the servers that a daemon left running which is gone for good. (One that is started again takes "
        "them back.) Lists them and asks; refuses while a daemon is there.",
        """\
  carlactl reap                            of the daemon with the default configuration
  carlactl reap --config carlad.toml --yes
  carlactl reap --after carlad.service     in a unit's ExecStopPost: not where systemd starts it again
""",
        asks_daemon=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the daemon's")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--after",
        metavar="UNIT",
        help="without asking, and only if this unit of systemd was told to stop or to restart",
    )


def _reap(arguments: argparse.Namespace) -> None:
    from carlad import config
    from carlad.errors import ConfigError
    from carlad.fleet.leftovers import is_used, leftovers, state_directory

    if arguments.after and not was_told(os.environ.get("SERVICE_RESULT", ""), _job_of(arguments.after)):
        print(f"{arguments.after} ended by itself: its servers are left for the next start")
        return
    configuration = config.load(arguments.config)
    state_dir = Path(configuration.daemon.state_dir)
    if not is_used(state_dir):
        if arguments.after:
            return
        raise ConfigError(f"cannot reap: no daemon ever used {state_dir}; --config names another one's file")
    with state_directory(state_dir) as runs:
        left = leftovers(runs)
        for leftover in left:
            pids = ", ".join(map(str, leftover.pids)) or "none"
            print(f"{leftover.folder.name}: processes {pids}")
        if not left:
            print("nothing is left")
        elif arguments.yes or arguments.after or _is_wanted(left):
            _end(left, configuration, runs)


def was_told(result: str, job: str) -> bool:
    """Whether a service has ended because somebody wanted that. Pure.

    `result`: SERVICE_RESULT of systemd.exec(5); a service that ended well did so at a request. `job`: the
    number of what systemd was asked to do with it and has not done yet, empty or 0 for nothing.
    """
    return result == "success" or job not in ("", "0")


def _job_of(unit: str) -> str:
    """Empty where systemd cannot be asked."""
    asked = ["systemctl", "show", "--property=Job", "--value", unit]
    try:
        return subprocess.run(
            asked, capture_output=True, text=True, timeout=_ASK_MAX_S, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _is_wanted(left: list[Leftover]) -> bool:
    from carlad.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError("cannot ask whether to end them: stdin is no terminal; give --yes")
    print(f"End all of {len(left)}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _end(left: list[Leftover], configuration: Config, runs: Path) -> None:
    import trio

    from carlad.fleet.backends.choice import choose
    from carlad.fleet.leftovers import end_leftover
    from carlad.fleet.ports import PortRegistry

    for leftover in left:
        trio.run(end_leftover, leftover)
        print(f"{leftover.folder.name} is ended")
    registry = PortRegistry(*configuration.fleet.ports)
    backend = choose(configuration, os.environ, registry, str(runs))
    trio.run(backend.clear, ())  # containers are nobody's child
