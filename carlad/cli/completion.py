"""`carlactl completion`: what Tab knows in bash and zsh, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, daemon
from carlad.errors import CarladError

if TYPE_CHECKING:
    from carlad.cli.command import Commands


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "completion",
        completion,
        "Print what makes a shell complete commands, options, slots, leases, sessions and maps.",
        """\
  eval "$(carlactl completion bash)"       in ~/.bashrc
  eval "$(carlactl completion zsh)"        in ~/.zshrc, behind compinit
""",
        asks_daemon=False,
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    words = commands.add_parser("words")  # without help: for the completion alone
    words.set_defaults(run=_words)
    words.add_argument("of", choices=("slots", "leases", "sessions", "maps"))


def completion(arguments: argparse.Namespace) -> None:
    import shtab

    from carlad.cli.main import parser

    print(shtab.complete(parser(), shell=arguments.shell))


def _words(arguments: argparse.Namespace) -> None:
    """What may be written there now; nothing where no daemon answers."""
    try:
        with daemon(arguments) as client:
            shown = client.status()
    except CarladError:
        return
    words: dict[str, Iterable[object]] = {
        "slots": (slot.slot for slot in shown.slots),
        "leases": (lease.lease_id for lease in shown.leases),
        "sessions": (session.session_id for session in shown.sessions),
        "maps": sorted({slot.map for slot in shown.slots if slot.map}),
    }
    print(*words[arguments.of], sep="\n")
