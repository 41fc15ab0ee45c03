"""`carlactl events`: what happened, and happens."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json, daemon

if TYPE_CHECKING:
    from carlad.cli.command import Commands


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "events",
        events,
        "Print what happened to servers and leases, as far as the daemon remembers.",
        """\
  carlactl events
  carlactl events -f --json | jq -c 'select(.event == "slot.lost")'
""",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")
    add_json(parser)


def events(arguments: argparse.Namespace) -> None:
    from carlad.cli import tables
    from carlad.cli.output import print_json

    with daemon(arguments) as client:
        for notice in client.watch() if arguments.follow else client.events().notices:
            print_json(notice) if arguments.json else print(tables.notice(notice), flush=True)
