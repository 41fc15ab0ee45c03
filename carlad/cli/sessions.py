"""`carlactl sessions` and `sessions close`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json, completed, daemon

if TYPE_CHECKING:
    from carlad.cli.command import Commands


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "sessions",
        sessions,
        "List env sessions.",
        """\
  carlactl sessions
  carlactl sessions --json | jq '.[].session_id'
  carlactl sessions close session-1f00c2a9
""",
    )
    add_json(parser)
    _add_close(parser.add_subparsers(title="commands", metavar="[COMMAND]", help="`close` ends one"))


def _add_close(commands: Commands) -> None:
    parser = add_command(
        commands,
        "close",
        close,
        "End a session, whoever uses it. Its server is given back when this returns; its client's next step "
        "fails with the reason.",
        "  carlactl sessions close session-1f00c2a9\n",
    )
    completed(
        parser.add_argument("session_id", metavar="SESSION_ID", help="such as session-1f00c2a9"), "sessions"
    )


def sessions(arguments: argparse.Namespace) -> None:
    import msgspec

    from carlad.cli import tables
    from carlad.cli.output import console

    with daemon(arguments) as client:
        shown = client.status()
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(shown.sessions)))
    else:
        console().print(tables.sessions(shown) if shown.sessions else "there are no sessions")


def close(arguments: argparse.Namespace) -> None:
    with daemon(arguments) as client:
        client.close_session(arguments.session_id)
    print(f"{arguments.session_id} is closed")
