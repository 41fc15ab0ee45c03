"""How a command of `carlactl` declares itself, and what commands have in common.

Files of commands import no more than this when they are loaded: `carlactl --help` and completion are quick.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carlad.client import Client

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Run = Callable[[argparse.Namespace], int | None]


class Exit(IntEnum):
    """What `carlactl` returns."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 3
    WAITED_IN_VAIN = 4
    LEASE_LOST = 5
    INTERRUPTED = 130


EXIT_CODES = """\
Exit codes: 0 done, 1 refused or failed, 2 bad usage or configuration, 3 no daemon, 4 waited in vain.
"""


def add_command(
    commands: Commands,
    name: str,
    run: Run,
    description: str,
    examples: str,
    exit_codes: str = EXIT_CODES,
    asks_daemon: bool = True,
) -> argparse.ArgumentParser:
    """`description`: its first sentence is the command's line in the list. `run` returns an exit code, or
    None for 0."""
    parser = commands.add_parser(
        name,
        help=description.partition(".")[0],
        description=description,
        epilog=f"examples:\n{examples}\n{exit_codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    if asks_daemon:
        add_endpoint(parser)
    return parser


def add_family(commands: Commands, name: str, description: str) -> Commands:
    """A command that has commands of its own, such as `carlactl config`."""
    parser = commands.add_parser(name, help=description.partition(".")[0], description=description)
    return parser.add_subparsers(title="commands", required=True, metavar="COMMAND")


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint",
        default=argparse.SUPPRESS,  # so that the command's does not hide the one given before it
        help="of the daemon: a socket's path, or tcp://KEY@HOST:PORT",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def add_slot(parser: argparse.ArgumentParser) -> None:
    slot = parser.add_argument("slot", type=number, metavar="SLOT", help="its number in `status`")
    completed(slot, "slots")


def add_lease_id(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("lease_id", metavar="LEASE_ID", help="such as lease-17"), "leases")
    parser.add_argument("--token", type=number, metavar="N", help="only if this is its fencing token")


def completed(action: argparse.Action, words: str) -> None:
    """Shells ask `carlactl words WORDS` for what may stand there."""
    ask = f"carlactl words {words} 2>/dev/null"
    bash = f"_carlactl_{words}"
    preamble = f'{bash}() {{ compgen -W "$({ask})" -- "$1"; }}\n'
    action.complete = {"bash": bash, "zsh": f"($({ask}))", "preamble": {"bash": preamble}}  # type: ignore[attr-defined]


def number(text: str) -> int:
    """Of a slot, or a fencing token."""
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no number that there can be")
    return value


def seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value


@contextmanager
def daemons(arguments: argparse.Namespace) -> Iterator[list[Client]]:
    """A client of each of the daemons that the arguments name."""
    from carlad.client import Client
    from carlad.endpoints import client_endpoints

    with ExitStack() as stack:
        endpoints = client_endpoints(getattr(arguments, "endpoint", None))
        yield [stack.enter_context(Client(endpoint)) for endpoint in endpoints]


@contextmanager
def daemon(arguments: argparse.Namespace) -> Iterator[Client]:
    """A client of the daemon that the arguments name."""
    from carlad.client import Client

    with Client(getattr(arguments, "endpoint", None)) as client:
        yield client
