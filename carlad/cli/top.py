"""`carlactl top`: what servers take of the machine, as they take it."""

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
        "top",
        _top,
        "Show what each server takes of the machine: cores, memory, GPU memory, how quickly it answers.",
        """\
  carlactl top                             again each second, until Ctrl-C
  carlactl top --once
  carlactl top --once --json | jq '.slots[] | {slot, cores, rss_bytes}'
""",
    )
    parser.add_argument("--once", action="store_true", help="and no more")
    add_json(parser)


def _top(arguments: argparse.Namespace) -> None:
    from rich.live import Live

    from carlad.cli import tables
    from carlad.cli.output import console, print_json

    with daemon(arguments) as client:
        if arguments.once and not arguments.json:
            console().print(tables.vitals(client.status(), client.vitals()))
        elif arguments.json:
            print_json(client.vitals())
            while not arguments.once:
                time.sleep(_PERIOD_S)
                print_json(client.vitals())
        else:
            first = tables.vitals(client.status(), client.vitals())
            with Live(first, console=console(), auto_refresh=False) as live:
                while True:
                    time.sleep(_PERIOD_S)
                    live.update(tables.vitals(client.status(), client.vitals()), refresh=True)
