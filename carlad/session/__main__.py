"""`python -m carlad.session`: the env host process. It never outlives its owner, or its client for long."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium

from carlad.admission import Admitted
from carlad.errors import ConfigError
from carlad.keys import KeyPair, read_pair
from carlad.log import configure
from carlad.session.broadcast import Broadcast
from carlad.session.host import Host
from carlad.session.owner import end_with
from carlad.session.serve import Door, listening
from carlad.telemetry import Publisher, TelemetryError


def main() -> int:
    """Serve until Close, SIGTERM, SIGINT, or the owner's or the client's end.

    Exit code 2 for arguments that cannot work.
    """
    arguments = _parser().parse_args()
    configure()
    stop_fd = _stop_fd()
    try:
        owner_gone = end_with(arguments.owner_pid) if arguments.owner_pid is not None else None
        secret = _taken(Path(arguments.secret_file)) if arguments.secret_file else ""
        path = _path("--endpoint", arguments.endpoint)
        make = _environment_class(arguments.env)
        broadcast = _broadcast(arguments) if arguments.telemetry else None
    except (ValueError, ImportError, OSError, TelemetryError, ConfigError) as error:
        print(f"carlad.session: {error}", file=sys.stderr)
        return 2
    host = Host(make, broadcast)
    try:
        with listening(path) as listener, _gate(arguments, path):
            uids = frozenset({os.geteuid(), *arguments.uid})
            Door(listener, host, secret, uids, arguments.patience).serve(stop_fd)
    except (OSError, ConfigError) as error:
        print(f"carlad.session: cannot serve at {arguments.endpoint}: {error}", file=sys.stderr)
        return 2
    finally:
        host.close()
        if owner_gone is not None and owner_gone.is_set():
            _remove_folder(arguments.endpoint)
    if host.simulator_lost:
        _leave_at_once()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m carlad.session",
        description="Host one Gymnasium environment for one client of the step protocol.",
        epilog="carlad starts these itself: see `carlad.session(...)`.",
    )
    parser.add_argument("--env", required=True, metavar="MODULE:CLASS", help="e.g. trainer.env:RouteEnv")
    parser.add_argument("--endpoint", required=True, metavar="ipc://PATH", help="of the step protocol")
    parser.add_argument("--telemetry", metavar="ipc://PATH", help="what viewers subscribe to")
    parser.add_argument(
        "--clients",
        metavar="tcp://ADDRESS:PORT",
        action="append",
        default=[],
        help="serve the steps there, too, to keys of --client in --keys-dir",
    )
    parser.add_argument("--client", metavar="USER", default="", help="who may step from other machines")
    parser.add_argument(
        "--viewers",
        metavar="tcp://ADDRESS:PORT",
        action="append",
        default=[],
        help="serve the telemetry there, too, to viewers with a key in --keys-dir",
    )
    parser.add_argument(
        "--keys-dir",
        metavar="DIR",
        type=Path,
        help="server.key_secret, clients/USER.key, and viewers/NAME.key of those who may watch and no more",
    )
    parser.add_argument("--name", default=f"session-{os.getpid()}", help="what viewers see as the session")
    parser.add_argument("--secret-file", metavar="FILE", help="what a client must say; removed once read")
    parser.add_argument(
        "--uid", type=int, action="append", default=[], help="a user who may connect, beside this one"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="wait so long for a client",
    )
    parser.add_argument("--owner-pid", type=int, metavar="PID", help="end when this process ends")
    return parser


def _environment_class(name: str) -> Callable[..., gymnasium.Env[Any, Any]]:
    """Raises ValueError or ImportError if `MODULE:CLASS` names no environment."""
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise ValueError(f"cannot use --env {name}: write MODULE:CLASS, such as trainer.env:RouteEnv")
    found = getattr(importlib.import_module(module_name), class_name, None)
    if not (isinstance(found, type) and issubclass(found, gymnasium.Env)):
        raise ValueError(f"cannot use --env {name}: {module_name} has no environment class {class_name}")  # noqa: TRY004
    return found


def _taken(secret_file: Path) -> str:
    """What is in the file, which is removed: nobody else is to read it."""
    secret = secret_file.read_text().strip()
    secret_file.unlink()
    return secret


def _path(option: str, endpoint: str) -> str:
    """Raises ValueError for what is no Unix socket: over TCP nobody comes in without a key."""
    path = endpoint.removeprefix("ipc://")
    if path == endpoint:
        raise ValueError(
            f"cannot use {option} {endpoint}: write ipc://PATH; for TCP see --clients, --viewers"
        )
    return path


def _broadcast(arguments: argparse.Namespace) -> Broadcast:
    """Readers are those who may enter the socket's folder, as the daemon's user or in its group, and from
    other machines those with a key."""
    path = _path("--telemetry", arguments.telemetry)
    pair = _pair(arguments, arguments.viewers)
    publisher = Publisher(arguments.telemetry)
    os.chmod(path, 0o660)
    if pair is not None:
        admitted = Admitted(arguments.keys_dir / "clients", arguments.keys_dir / "viewers")
        publisher.admit(arguments.viewers, pair, admitted)
    return Broadcast(publisher, arguments.name)


@contextlib.contextmanager
def _gate(arguments: argparse.Namespace, path: str) -> Iterator[None]:
    """For the client, where it is on another machine. Raises OSError and ConfigError."""
    pair = _pair(arguments, arguments.clients)
    if pair is None:
        yield
        return
    from carlad.session.tunnel import Gate  # with asyncio, which no other host needs

    admitted = Admitted(arguments.keys_dir / "clients", user=arguments.client)
    with contextlib.closing(Gate(arguments.clients, path, pair, admitted)):
        yield


def _pair(arguments: argparse.Namespace, addresses: list[str]) -> KeyPair | None:
    """The daemon's own, with which the host speaks for itself; None: it does not speak to other machines."""
    if not addresses:
        return None
    if arguments.keys_dir is None:
        raise ConfigError(f"cannot serve at {addresses[0]} without --keys-dir")
    return read_pair(arguments.keys_dir / "server.key_secret")


def _stop_fd() -> int:
    """What SIGTERM and SIGINT make readable, so that they end the process between two requests."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _remove_folder(endpoint: str) -> None:
    """The socket's, if it is empty: nobody else is left to do so."""
    with contextlib.suppress(OSError):
        Path(endpoint.removeprefix("ipc://")).parent.rmdir()


def _leave_at_once() -> None:
    """The carla client's destructors would call the lost server and wait their full time-outs."""
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
