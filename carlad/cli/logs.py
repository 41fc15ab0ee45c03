"""`carlactl logs`: what servers wrote, and write."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_slot, daemon

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.client import Client

_LINES_MAX = 10_000  # as in carlad.messages, which is not loaded for a parser
_PERIOD_S = 0.25


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "logs",
        logs,
        "Print what the servers of a slot wrote.",
        """\
  carlactl logs 0 -n 50
  carlactl logs 0 -f                       and what they write from now on, until Ctrl-C
""",
    )
    add_slot(parser)
    parser.add_argument(
        "-n", "--lines", type=_lines, default=200, metavar="N", help="the last N (default: 200)"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")


def logs(arguments: argparse.Namespace) -> None:
    with daemon(arguments) as client:
        print_log(client, arguments.slot, arguments.lines, arguments.follow)


def print_log(client: Client, slot: int, lines: int, follow: bool) -> None:
    """The newest lines, and with `follow` each that comes, across restarts and rotation."""
    from carlad.cli.output import print_lines

    shown = client.logs(slot, lines)
    if not follow:
        unfinished = () if shown.unfinished is None else (shown.unfinished,)
        print_lines((*shown.lines, *unfinished)[-lines:])
        return
    print_lines(shown.lines)
    while True:
        shown = client.logs(slot, _LINES_MAX, shown.place)
        if shown.is_gap:
            print("carlactl: lines were rotated away before they could be shown", file=sys.stderr)
        print_lines(shown.lines)
        if not shown.lines:
            time.sleep(_PERIOD_S)


def _lines(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {_LINES_MAX}")
    return value
