"""What operators do with slots and with the daemon, other than to look."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json, add_slot, daemon
from carlad.errors import CarladError, NoDaemonError

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.messages import OperatorRequest

_LOOK_AGAIN_S = 0.05
_SUCCESSOR_MAX_S = 60.0  # until it answers; a second, where a machine has nothing else to do
_SIZE_MAX = 512  # as in carlad.messages, which is not loaded for a parser


def add(commands: Commands) -> None:
    _add_for_slot(
        commands,
        "restart",
        "Give a slot another server. A leased one is replaced when its lease has ended. Lifts a quarantine.",
        "  carlactl restart 0\n",
    )
    _add_for_slot(
        commands,
        "drain",
        "Lease a slot no more. Its server ends as soon as nobody holds it; none is started until `undrain`.",
        "  carlactl drain 1                         before the driver of its GPU is changed\n",
    )
    _add_for_slot(commands, "undrain", "Lease a slot again after `drain`.", "  carlactl undrain 1\n")
    quarantine = _add_for_slot(
        commands,
        "quarantine",
        "End a slot's server now, whoever holds it. None is started until `restart`.",
        '  carlactl quarantine 1 --why "its GPU throws Xid 79"\n',
    )
    quarantine.add_argument("--why", default="by hand", help="shown in `status`")
    _add_scale(commands)
    _add_reload(commands)
    _add_upgrade(commands)
    _add_shutdown(commands)


def _add_for_slot(commands: Commands, name: str, description: str, examples: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, _slot, description, examples)
    parser.set_defaults(verb=name)
    add_slot(parser)
    return parser


def _slot(arguments: argparse.Namespace) -> None:
    from carlad.messages import Drain, Quarantine, Restart, Undrain

    slot: int = arguments.slot
    requests: dict[str, Callable[[], OperatorRequest]] = {
        "restart": lambda: Restart(slot=slot),
        "drain": lambda: Drain(slot=slot),
        "undrain": lambda: Undrain(slot=slot),
        "quarantine": lambda: Quarantine(slot=slot, why=arguments.why[:128] or "by hand"),
    }
    _operate(arguments, requests[arguments.verb]())


def _operate(arguments: argparse.Namespace, request: OperatorRequest) -> None:
    with daemon(arguments) as client:
        print(client.operate(request))


def _add_scale(commands: Commands) -> None:
    parser = add_command(
        commands,
        "scale",
        _scale,
        "Change how many slots there are, until the next reload. Surplus ones drain: leases are left alone.",
        "  carlactl scale 4\n",
    )
    parser.add_argument("size", type=_size, metavar="N")


def _scale(arguments: argparse.Namespace) -> None:
    from carlad.messages import Scale

    _operate(arguments, Scale(size=arguments.size))


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) > _SIZE_MAX:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to {_SIZE_MAX}")
    return int(text)


def _add_reload(commands: Commands) -> None:
    parser = add_command(
        commands,
        "reload",
        _reload,
        "Let the daemon read its configuration and its clients' keys again. It says what that changes; a "
        "configuration that cannot be used changes nothing. SIGHUP does the same.",
        """\
  carlactl config check carlad.toml && carlactl reload
  carlactl reload --json
""",
    )
    add_json(parser)


def _reload(arguments: argparse.Namespace) -> None:
    import msgspec

    with daemon(arguments) as client:
        changes = client.reload()
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(changes)))
        return
    for change in changes:
        print(f"{change.key} = {change.new}  (was {change.old}; applies {change.applies})")
    if not changes:
        print("the configuration is what it was")


def _add_upgrade(commands: Commands) -> None:
    add_command(
        commands,
        "upgrade",
        _upgrade,
        "Start the daemon anew, with the carlad that is installed and the configuration as it is now. "
        "Servers, their logs and leases go on. Where the new one would not start, the old one stays. "
        "SIGUSR2 does the same.",
        "  pip install --upgrade . && carlactl upgrade     # in a newer clone of the sources\n",
    )


def _upgrade(arguments: argparse.Namespace) -> None:
    """Returns when the successor answers."""
    from carlad.messages import Upgrade

    with daemon(arguments) as client:
        before, after = client.status(), None
        asked_at = time.monotonic()
        client.operate(Upgrade())
        told_at = time.monotonic()
        while after is None or after.run == before.run:
            if time.monotonic() - told_at > _SUCCESSOR_MAX_S:
                raise CarladError(f"no daemon has taken over within {_SUCCESSOR_MAX_S:g} s; see carlad's log")
            time.sleep(_LOOK_AGAIN_S)
            with suppress(NoDaemonError):  # one that is starting
                after = client.status()
    print(
        f"carlad {after.daemon.version} has taken over after {time.monotonic() - asked_at:.1f} s: "
        f"{len(after.slots)} slots, {len(after.leases)} leases"
    )


def _add_shutdown(commands: Commands) -> None:
    parser = add_command(
        commands,
        "shutdown",
        _shutdown,
        "End all servers and the daemon, as SIGTERM does. Holders have daemon.drain_s to give them back.",
        """\
  carlactl shutdown
  carlactl shutdown --now                  holders are given no time
""",
    )
    parser.add_argument("--now", action="store_true", help="without waiting for holders and servers")


def _shutdown(arguments: argparse.Namespace) -> None:
    from carlad.messages import Shutdown

    _operate(arguments, Shutdown(now=arguments.now))
