"""`carlactl status`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json, daemons

if TYPE_CHECKING:
    from rich.console import RenderableType

    from carlad.cli.command import Commands
    from carlad.client import Client

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
    from carlad.cli.output import console, print_json

    with daemons(arguments) as clients:
        if not arguments.watch and not arguments.json:
            console().print(_shown(clients))
        elif arguments.json:
            while True:
                for client in clients:
                    print_json(client.status(), endpoint=client.endpoint)
                if not arguments.watch:
                    return
                time.sleep(_PERIOD_S)
        else:
            from rich.live import Live

            with Live(_shown(clients), console=console(), auto_refresh=False) as live:
                while True:
                    time.sleep(_PERIOD_S)
                    live.update(_shown(clients), refresh=True)


def _shown(clients: Sequence[Client]) -> RenderableType:
    """The fleets one below the other; of several, those that do not answer too."""
    from rich.console import Group
    from rich.text import Text

    from carlad.cli import tables
    from carlad.errors import NoDaemonError

    if len(clients) == 1:
        return tables.status(clients[0].status())
    parts: list[RenderableType] = []
    for client in clients:
        parts.append(Text(client.endpoint, "bold"))
        try:
            parts.append(tables.status(client.status()))
        except NoDaemonError as error:
            parts.append(Text(str(error), "red"))
        parts.append(Text())
    return Group(*parts[:-1])
