"""`carlactl status` and `sessions`."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json, daemon

if TYPE_CHECKING:
    from carlad.cli.command import Commands

_PERIOD_S = 1.0


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "status",
        status,
        "Show servers and leases.",
        """\
  carlactl status
  carlactl status -w                       again each second, until Ctrl-C
  carlactl status --json | jq '.slots[] | select(.state == "READY")'
""",
    )
    parser.add_argument("-w", "--watch", action="store_true", help="again each second, until Ctrl-C")
    add_json(parser)

    listed = add_command(
        commands,
        "sessions",
        sessions,
        "List env sessions.",
        """\
  carlactl sessions
  carlactl sessions --json | jq '.[].session_id'
""",
    )
    add_json(listed)


def sessions(arguments: argparse.Namespace) -> None:
    import json

    import msgspec

    from carlad.cli import tables
    from carlad.cli.output import console

    with daemon(arguments) as client:
        shown = client.status()
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(shown.sessions)))
    else:
        console().print(tables.sessions(shown) if shown.sessions else "there are no sessions")


def status(arguments: argparse.Namespace) -> None:
    from rich.live import Live

    from carlad.cli import tables
    from carlad.cli.output import console, print_json

    with daemon(arguments) as client:
        if not arguments.watch:
            shown = client.status()
            print_json(shown) if arguments.json else console().print(tables.status(shown))
        elif arguments.json:
            while True:
                print_json(client.status())
                time.sleep(_PERIOD_S)
        else:
            with Live(tables.status(client.status()), console=console(), auto_refresh=False) as live:
                while True:
                    time.sleep(_PERIOD_S)
                    live.update(tables.status(client.status()), refresh=True)
