"""`carlactl lease`, `renew` and `release`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from carlad.cli.command import (
    Exit,
    add_command,
    add_json,
    add_lease_id,
    completed,
    daemon,
    daemons,
    seconds,
)

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.client import Client
    from carlad.messages import Granted, Holder, Queued

_PRIORITY_MAX = 9  # as in carlad.messages, which is not loaded for a parser


def add(commands: Commands) -> None:
    _add_lease(commands)
    _add_renew(commands)
    _add_release(commands)


def _add_lease(commands: Commands) -> None:
    parser = add_command(
        commands,
        "lease",
        lease,
        "Take a server, or run a command with one. Without --exec the lease belongs to no process: it ends "
        "with its time to live, unless it is renewed. With --exec it is renewed while the command runs and "
        "released at its end; the command finds the server in CARLA_HOST, CARLA_PORT and CARLA_TM_PORT, gets "
        "the signals that carlactl gets, and is ended if the lease is lost. Of several daemons, separated by "
        "commas, one is taken that has room.",
        """\
  carlactl lease                           any free server, or exit code 4
  carlactl lease --map Town03 --wait 60 --ttl 600
  carlactl lease --wait 60 --exec python manual_control.py
  carlactl lease --exec sh -c 'nc -z "$CARLA_HOST" "$CARLA_PORT"'
  eval "$(carlactl lease --json | jq -r '"HOST=\\(.host) PORT=\\(.rpc_port) LEASE=\\(.lease_id)"')"
""",
        """\
Exit codes: 0 done, 1 refused or failed, 2 bad usage or configuration, 3 no daemon, 4 waited in vain.
With --exec the command's own (128 + n if signal n ended it), or 5 the lease was lost, 126 or 127 the
command cannot be run.
""",
    )
    wanted = parser.add_argument("--map", help="a map that it has or loads, such as Town03 (default: any)")
    completed(wanted, "maps")
    parser.add_argument("--ttl", type=seconds, metavar="S", help="time to live (default: the daemon's)")
    parser.add_argument(
        "--wait", type=seconds, default=0.0, metavar="S", help="queue this long (default: 0, do not)"
    )
    parser.add_argument(
        "--priority", type=_priority, default=0, metavar="N", help="0 to 9: a head start in the queue"
    )
    add_json(parser)
    parser.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run this, all that is behind it",
    )


def _priority(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _PRIORITY_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {_PRIORITY_MAX}")
    return value


def lease(arguments: argparse.Namespace) -> int:
    import msgspec

    from carlad.cli.output import print_json
    from carlad.client import this_process

    if arguments.exec is not None:
        return _run(arguments)
    nobody = msgspec.structs.replace(this_process(), program="carlactl", pid=0)
    endpoint, granted = _acquire(arguments, nobody)
    if arguments.json:
        print_json(granted, endpoint=endpoint)
        return Exit.DONE
    print(
        f"{granted.lease_id} for {granted.ttl_s:g} s: {granted.host}:{granted.rpc_port} with {granted.map} "
        f"(streaming port {granted.streaming_port}, Traffic Manager port {granted.traffic_manager_port})"
    )
    return Exit.DONE


def _acquire(arguments: argparse.Namespace, holder: Holder) -> tuple[str, Granted]:
    """The endpoint of the daemon that granted, and what it granted."""
    from carlad import nodes
    from carlad.cli.output import progress

    def ask(client: Client, wait_s: float, on_queued: Callable[[Queued], None] | None) -> Granted:
        return client.acquire(
            arguments.map, arguments.ttl, wait_s, holder, on_queued, priority=arguments.priority
        )

    with daemons(arguments) as clients, progress() as say:
        client, granted = nodes.acquire(clients, arguments.map, arguments.wait, ask, say)
    return client.endpoint, granted


def _run(arguments: argparse.Namespace) -> int:
    import os
    import sys

    import msgspec

    from carlad.cli import execute
    from carlad.client import Lease, this_process

    command: list[str] = arguments.exec[1:] if arguments.exec[:1] == ["--"] else arguments.exec
    if not command:
        print("carlactl: --exec: there is no command behind it", file=sys.stderr)
        return Exit.USAGE
    if (cannot := execute.why_not(command)) is not None:
        print(f"carlactl: {cannot[1]}", file=sys.stderr)
        return cannot[0]
    holder = msgspec.structs.replace(this_process(), program=os.path.basename(command[0])[:128])
    endpoint, granted = _acquire(arguments, holder)
    return execute.run(command, lambda on_lost: Lease(endpoint, granted, on_lost=on_lost))


def _add_renew(commands: Commands) -> None:
    parser = add_command(
        commands,
        "renew",
        renew,
        "Let a lease live for its whole time to live again.",
        """\
  carlactl renew lease-17
  carlactl renew lease-17 --ttl 3600       and change its time to live
""",
    )
    add_lease_id(parser)
    parser.add_argument("--ttl", type=seconds, metavar="S", help="the new time to live (default: as it was)")
    add_json(parser)


def renew(arguments: argparse.Namespace) -> None:
    from carlad.cli.output import print_json

    with daemon(arguments) as client:
        renewed = client.renew(arguments.lease_id, arguments.token, arguments.ttl)
    if arguments.json:
        print_json(renewed)
    else:
        print(f"{renewed.lease_id} lives for another {renewed.ttl_s:g} s")


def _add_release(commands: Commands) -> None:
    parser = add_command(
        commands,
        "release",
        release,
        "Give a server back, whoever holds it.",
        "  carlactl release lease-17\n",
    )
    add_lease_id(parser)


def release(arguments: argparse.Namespace) -> None:
    with daemon(arguments) as client:
        client.release(arguments.lease_id, arguments.token)
    print(f"{arguments.lease_id} is released")
