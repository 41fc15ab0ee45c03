"""What a daemon that is gone for good left running."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli.command import add_command

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.config import Config
    from carlad.fleet.leftovers import Leftover


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
""",
        asks_daemon=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the daemon's")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _reap(arguments: argparse.Namespace) -> None:
    from carlad import config
    from carlad.errors import ConfigError
    from carlad.fleet.leftovers import is_used, leftovers, state_directory

    configuration = config.load(arguments.config)
    state_dir = Path(configuration.daemon.state_dir)
    if not is_used(state_dir):
        raise ConfigError(f"cannot reap: no daemon ever used {state_dir}; --config names another one's file")
    with state_directory(state_dir) as runs:
        left = leftovers(runs)
        for leftover in left:
            pids = ", ".join(map(str, leftover.pids)) or "none"
            print(f"{leftover.folder.name}: processes {pids}")
        if not left:
            print("nothing is left")
        elif arguments.yes or _is_wanted(left):
            _end(left, configuration, runs)


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
