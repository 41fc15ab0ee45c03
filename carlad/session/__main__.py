"""`python -m carlad.session`: the env host process. It never outlives its owner."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import zmq

from carlad.log import configure
from carlad.session.broadcast import Broadcast
from carlad.session.host import Host, serve
from carlad.session.owner import end_with
from carlad.telemetry import Publisher, TelemetryError


def main() -> int:
    """Serve until Close, SIGTERM, SIGINT or the owner's end. Exit code 2 for arguments that cannot work."""
    arguments = _parser().parse_args()
    configure()
    stop_fd = _stop_fd()
    try:
        owner_gone = end_with(arguments.owner_pid) if arguments.owner_pid is not None else None
        make = _environment_class(arguments.env)
        broadcast = Broadcast(Publisher(arguments.telemetry), arguments.name) if arguments.telemetry else None
        host = Host(make, broadcast)
    except (ValueError, ImportError, ProcessLookupError, TelemetryError) as error:
        print(f"carlad.session: {error}", file=sys.stderr)
        return 2
    try:
        serve(arguments.endpoint, host, stop_fd)
    except zmq.ZMQError as error:
        print(f"carlad.session: cannot serve at {arguments.endpoint}: {error}", file=sys.stderr)
        return 2
    finally:
        host.close()
        _remove_socket(arguments.endpoint, and_directory=owner_gone is not None and owner_gone.is_set())
    if host.simulator_lost:
        _leave_at_once()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m carlad.session",
        description="Host one Gymnasium environment for one client of the step protocol.",
    )
    parser.add_argument("--env", required=True, metavar="MODULE:CLASS", help="e.g. trainer.env:RouteEnv")
    parser.add_argument(
        "--endpoint", required=True, help="ZeroMQ endpoint of the step protocol, e.g. ipc:///tmp/s/0"
    )
    parser.add_argument("--telemetry", help="ZeroMQ endpoint that viewers subscribe to")
    parser.add_argument("--name", default=f"session-{os.getpid()}", help="what viewers see as the session")
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


def _stop_fd() -> int:
    """What SIGTERM and SIGINT make readable, so that they end the process between two requests."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _remove_socket(endpoint: str, and_directory: bool) -> None:
    """Remove the socket's file; and its directory, if that is empty, when nobody else is left to do so."""
    if not endpoint.startswith("ipc://"):
        return
    path = Path(endpoint.removeprefix("ipc://"))
    path.unlink(missing_ok=True)
    if and_directory:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _leave_at_once() -> None:
    """The carla client's destructors would call the lost server and wait their full time-outs."""
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
