"""`carlactl lease`, `renew` and `release`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json, add_lease_id, completed, daemon, seconds

if TYPE_CHECKING:
    from carlad.cli.command import Commands


def add(commands: Commands) -> None:
    _add_lease(commands)
    _add_renew(commands)
    _add_release(commands)


def _add_lease(commands: Commands) -> None:
    parser = add_command(
        commands,
        "lease",
        lease,
        "Take a server. The lease belongs to no process: it ends when its time to live is over, unless it is "
        "renewed.",
        """\
  carlactl lease                           any free server, or exit code 4
  carlactl lease --map Town03 --wait 60 --ttl 600
  eval "$(carlactl lease --json | jq -r '"HOST=\\(.host) PORT=\\(.rpc_port) LEASE=\\(.lease_id)"')"
""",
    )
    wanted = parser.add_argument("--map", help="a map that it has or loads, such as Town03 (default: any)")
    completed(wanted, "maps")
    parser.add_argument("--ttl", type=seconds, metavar="S", help="time to live (default: the daemon's)")
    parser.add_argument(
        "--wait", type=seconds, default=0.0, metavar="S", help="queue this long (default: 0, do not)"
    )
    add_json(parser)


def lease(arguments: argparse.Namespace) -> None:
    import msgspec

    from carlad.cli.output import print_json, progress
    from carlad.client import this_process

    nobody = msgspec.structs.replace(this_process(), program="carlactl", pid=0)
    with daemon(arguments) as client, progress() as say:
        granted = client.acquire(arguments.map, arguments.ttl, arguments.wait, nobody, on_queued=say)
    if arguments.json:
        print_json(granted)
        return
    print(
        f"{granted.lease_id} for {granted.ttl_s:g} s: {granted.host}:{granted.rpc_port} with {granted.map} "
        f"(streaming port {granted.streaming_port}, Traffic Manager port {granted.traffic_manager_port})"
    )


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
