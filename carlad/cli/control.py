"""`carlactl`: its arguments, and errors as exit codes."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from carlad import __version__
from carlad.cli import commands
from carlad.client import Client
from carlad.errors import CarladError, ConfigError, NoDaemonError, WaitedInVainError
from carlad.messages import LOG_LINES_MAX

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_INTERRUPTS = (signal.SIGTERM, signal.SIGHUP)
_EXIT_CODES = """\
Exit codes: 0 done, 1 refused or failed, 2 bad usage or configuration, 3 no daemon, 4 waited in vain.
"""

_EXAMPLES = f"""\
examples:
  carlactl status                          the fleet at a glance
  carlactl lease --wait 60 --ttl 600       a server for ten minutes
  carlactl release lease-17                give it back
  carlactl events -f                       what happens, as it happens

The daemon is found by --endpoint, else CARLAD_ENDPOINT, else the user's or the system's default socket.
{_EXIT_CODES}"""


def carlactl(argv: Sequence[str] | None = None) -> int:
    """Does one command. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        with _signals_interrupt(), Client(getattr(arguments, "endpoint", None)) as client:
            run: Callable[[Client, argparse.Namespace], None] = arguments.run
            run(client, arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CarladError as error:
        print(f"carlactl: {error}", file=sys.stderr)
        return exit_code(error)
    return 0


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that was closed, too: a request that waits is then withdrawn."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(error: CarladError) -> int:
    match error:
        case ConfigError():
            return 2
        case NoDaemonError():
            return 3
        case WaitedInVainError():
            return 4
        case _:
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carlactl",
        description="Ask the carlad daemon.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"carlactl {__version__}")
    _add_endpoint(parser)
    commands_of = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_status(commands_of)
    _add_lease(commands_of)
    _add_renew(commands_of)
    _add_release(commands_of)
    _add_logs(commands_of)
    _add_events(commands_of)
    return parser


def _add_status(commands_of: Commands) -> None:
    parser = _command(
        commands_of,
        "status",
        commands.status,
        "Show servers and leases.",
        """\
  carlactl status
  carlactl status -w                       again each second, until Ctrl-C
  carlactl status --json | jq '.slots[] | select(.state == "READY")'
""",
    )
    parser.add_argument("-w", "--watch", action="store_true", help="again each second, until Ctrl-C")
    _add_json(parser)


def _add_lease(commands_of: Commands) -> None:
    parser = _command(
        commands_of,
        "lease",
        commands.lease,
        "Take a server. The lease belongs to no process: it ends when its time to live is over, unless it is "
        "renewed.",
        """\
  carlactl lease                           any free server, or exit code 4
  carlactl lease --map Town03 --wait 60 --ttl 600
  eval "$(carlactl lease --json | jq -r '"HOST=\\(.host) PORT=\\(.rpc_port) LEASE=\\(.lease_id)"')"
""",
    )
    parser.add_argument("--map", help="a map that it has or loads, such as Town03 (default: any)")
    parser.add_argument("--ttl", type=_seconds, metavar="S", help="time to live (default: the daemon's)")
    parser.add_argument(
        "--wait", type=_seconds, default=0.0, metavar="S", help="queue this long (default: 0, do not)"
    )
    _add_json(parser)


def _add_renew(commands_of: Commands) -> None:
    parser = _command(
        commands_of,
        "renew",
        commands.renew,
        "Let a lease live for its whole time to live again.",
        """\
  carlactl renew lease-17
  carlactl renew lease-17 --ttl 3600       and change its time to live
""",
    )
    _add_lease_id(parser)
    parser.add_argument("--ttl", type=_seconds, metavar="S", help="the new time to live (default: as it was)")
    _add_json(parser)


def _add_release(commands_of: Commands) -> None:
    parser = _command(
        commands_of,
        "release",
        commands.release,
        "Give a server back, whoever holds it. Its incarnation is ended.",
        "  carlactl release lease-17\n",
    )
    _add_lease_id(parser)


def _add_logs(commands_of: Commands) -> None:
    parser = _command(
        commands_of,
        "logs",
        commands.logs,
        "Print what the servers of a slot wrote.",
        """\
  carlactl logs 0 -n 50
  carlactl logs 0 -f                       and what they write from now on, until Ctrl-C
""",
    )
    parser.add_argument("slot", type=int, metavar="SLOT", help="its number in `carlactl status`")
    parser.add_argument(
        "-n", "--lines", type=_lines, default=200, metavar="N", help="the last N (default: 200)"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")


def _add_events(commands_of: Commands) -> None:
    parser = _command(
        commands_of,
        "events",
        commands.events,
        "Print what happened to servers and leases, as far as the daemon remembers.",
        """\
  carlactl events
  carlactl events -f --json | jq -c 'select(.event == "slot.lost")'
""",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")
    _add_json(parser)


def _command(
    commands_of: Commands,
    name: str,
    run: Callable[[Client, argparse.Namespace], None],
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    parser = commands_of.add_parser(
        name,
        help=description.partition(".")[0],
        description=description,
        epilog=f"examples:\n{examples}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    _add_endpoint(parser)
    return parser


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint",
        default=argparse.SUPPRESS,  # so that the command's does not hide the one given before it
        help="of the daemon: a socket's path or ipc://PATH",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_lease_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lease_id", metavar="LEASE_ID", help="such as lease-17")
    parser.add_argument("--token", type=int, help="only if this is its fencing token")


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value


def _lines(text: str) -> int:
    value = int(text)
    if not 1 <= value <= LOG_LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {LOG_LINES_MAX}")
    return value
