"""`carlactl status`."""

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
