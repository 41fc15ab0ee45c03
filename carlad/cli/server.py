"""`carlactl server`: one server without a configuration, on a port that is always the same."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli.command import Exit, add_command, add_family, add_json

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.cli.private import Private
    from carlad.cli.simulators import Simulator

_PORT = 2000  # CARLA's own
_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 no server runs there.\n"


def add(commands: Commands) -> None:
    family = add_family(
        commands,
        "server",
        "Start, watch and end one server without a configuration. A private carlad looks after it: it "
        "restarts it on the same port if it crashes or hangs, and keeps its log.",
    )
    add_to(family)


def add_to(family: Commands, called: str = "server", in_background: bool = False) -> None:
    """Its commands, for a family that is `called` so."""
    _add_start(family, called, in_background)
    for name, run, description in (
        ("stop", _stop, "End a server and the carlad that looks after it."),
        ("restart", _restart, "End a server and start it again as it was, in the background."),
    ):
        parser = add_command(
            family,
            name,
            run,
            description,
            f"  carlactl {called} {name} --port 2000\n",
            _EXIT_CODES,
            asks_daemon=False,
        )
        _add_port(parser)
    _add_status(family, called)
    _add_logs(family, called)
    _add_kill(family, called)


def _add_start(family: Commands, called: str, in_background: bool) -> None:
    parser = add_command(
        family,
        "start",
        _start,
        "Start a server: CARLA's where --carla-root or CARLA_ROOT names it, else the bundled stand-in.",
        f"""\
  carlactl {called} start                                the stand-in on port 2000
  carlactl {called} start --carla-root /opt/carla --headless --quality Low --background
  carlactl {called} stop
""",
        _EXIT_CODES,
        asks_daemon=False,
    )
    _add_port(parser)
    parser.add_argument("--headless", action="store_true", help="no window (default without DISPLAY)")
    parser.add_argument("--quality", choices=("Low", "Medium", "High", "Epic"), default="Low")
    parser.add_argument(
        "--resolution", default="800x600", metavar="WxH", help="of the window (default: 800x600)"
    )
    parser.add_argument("--map", default="", help="loaded at the start (default: the server's own)")
    background = parser.add_mutually_exclusive_group()
    background.add_argument(
        "--background",
        action="store_true",
        default=in_background,
        help=f"return when it is ready; it goes on{' (default)' if in_background else ''}",
    )
    background.add_argument(
        "--foreground",
        dest="background",
        action="store_false",
        default=in_background,
        help=f"until Ctrl-C{'' if in_background else ' (default)'}",
    )
    root = parser.add_argument(
        "--carla-root",
        type=Path,
        metavar="DIR",
        default=os.environ.get("CARLA_ROOT"),
        help="the folder of CarlaUE4.sh (default: CARLA_ROOT)",
    )
    root.complete = "directory"  # type: ignore[attr-defined]


def _start(arguments: argparse.Namespace) -> int:
    from carlad import config
    from carlad.cli.private import Private

    private = Private(arguments.port)
    if private.runs:
        print(
            f"carlactl: port {private.port} has a server: see `carlactl server status`",
            file=sys.stderr,
        )
        return Exit.FAILED
    private.write(_fleet(arguments))
    config.load(private.config)  # so that a bad value is told before anything is started
    if not arguments.background:
        return private.run()
    _start_in_background(private)
    return Exit.DONE


def _fleet(arguments: argparse.Namespace) -> dict[str, object]:
    headless = arguments.headless or not os.environ.get("DISPLAY")
    return simulator(arguments.carla_root, arguments.quality) | {
        "rendering": "offscreen" if headless else "window",
        "resolution": arguments.resolution,
        "map": arguments.map,
    }


def simulator(carla_root: Path | str | None, quality: str) -> dict[str, object]:
    """Keys of `fleet`: CARLA's where its folder is given, else the stand-in's."""
    return {
        "backend": "binary" if carla_root else "standin",
        "carla_root": str(Path(carla_root).absolute()) if carla_root else "",
        "quality": quality,
    }


def _start_in_background(private: Private) -> None:
    from rich.console import Console

    with Console(stderr=True, highlight=False).status("starting carlad") as spinner:
        for progress in private.start_in_background():
            spinner.update(progress)
    slot = private.slot()
    if slot is not None:
        print(f"a server is ready at {slot.host}:{slot.rpc_port} with {slot.map}, pid {slot.pid}")


def _stop(arguments: argparse.Namespace) -> int:
    from carlad.cli.private import Private

    return _told(arguments.port, Private(arguments.port).stop(), "has ended")


def _restart(arguments: argparse.Namespace) -> int:
    from carlad.cli.private import Private

    private = Private(arguments.port)
    if not private.stop():
        return _told(arguments.port, False, "")
    _start_in_background(private)
    return Exit.DONE


def _told(port: int, ran: bool, what: str) -> int:
    if ran:
        print(f"the server on port {port} {what}")
        return Exit.DONE
    from carlad.cli.private import all_private

    others = ", ".join(str(private.port) for private in all_private() if private.runs)
    hint = f", but on {others}: give --port" if others else ""
    print(f"carlactl: no server of `carlactl server start` runs on port {port}{hint}", file=sys.stderr)
    return Exit.NO_DAEMON


def _add_status(family: Commands, called: str) -> None:
    parser = add_command(
        family,
        "status",
        _status,
        "List the servers that `carlactl server start` started and that run.",
        f"""\
  carlactl {called} status
  carlactl {called} status --json | jq '.[].port'
""",
        _EXIT_CODES,
        asks_daemon=False,
    )
    add_json(parser)


def _status(arguments: argparse.Namespace) -> int:
    import msgspec

    from carlad.cli import tables
    from carlad.cli.output import console
    from carlad.cli.private import all_private

    running = [(private, status) for private in all_private() if (status := private.status()) is not None]
    if arguments.json:
        shown = [
            {"port": private.port, "endpoint": private.endpoint, **msgspec.to_builtins(status.slots[0])}
            for private, status in running
        ]
        print(json.dumps(shown))
    elif running:
        console().print(tables.servers({private.port: status for private, status in running}))
    else:
        print("no server of `carlactl server start` runs")
    return Exit.DONE if running else Exit.NO_DAEMON


def _add_logs(family: Commands, called: str) -> None:
    parser = add_command(
        family,
        "logs",
        _logs,
        "Print what a server wrote.",
        f"  carlactl {called} logs -f\n",
        _EXIT_CODES,
        asks_daemon=False,
    )
    _add_port(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=200, metavar="N", help="the last N (default: 200)")


def _logs(arguments: argparse.Namespace) -> int:
    from carlad.cli.logs import print_log
    from carlad.cli.private import Private
    from carlad.client import Client

    private = Private(arguments.port)
    if not private.runs:
        return _told(arguments.port, False, "")
    with Client(private.endpoint) as client:
        print_log(client, 0, arguments.lines, arguments.follow)
    return Exit.DONE


def _add_kill(family: Commands, called: str) -> None:
    parser = add_command(
        family,
        "kill",
        _kill,
        "Kill simulators on this machine, whoever started them. It lists them and asks first.",
        f"""\
  carlactl {called} kill                     all of them
  carlactl {called} kill --port 2000         those that listen there
  carlactl {called} kill --yes               without asking
""",
        "Exit codes: 0 done, or there are none, 1 some are left, 2 bad usage.\n",
        asks_daemon=False,
    )
    parser.add_argument("--port", type=int, metavar="N", help="only those that listen there (default: all)")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _kill(arguments: argparse.Namespace) -> int:
    from carlad.cli import simulators, tables
    from carlad.cli.output import console

    found = simulators.simulators(arguments.port)
    if not found:
        print("there is no simulator to kill")
        return Exit.DONE
    console().print(tables.simulators(found))
    if not arguments.yes and not _agreed(found):
        return Exit.FAILED
    left = simulators.kill(found)
    for one in left:
        print(f"carlactl: cannot kill process {one.process.pid} of {one.user}", file=sys.stderr)
    print(f"{len(found) - len(left)} killed")
    return Exit.FAILED if left else Exit.DONE


def _agreed(found: list[Simulator]) -> bool:
    if any(one.watched for one in found):
        print("A carlad starts its servers anew; `carlactl shutdown` or `server stop` end them for good.")
    if not sys.stdin.isatty():
        print("carlactl: nobody can be asked here: say --yes", file=sys.stderr)
        return False
    return input(f"Kill {len(found)} of them? [y/N] ").strip().lower() in ("y", "yes")


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, default=_PORT, metavar="N", help="(default: 2000)")


def _port(text: str) -> int:
    value = int(text)
    if not 1024 <= value <= 65532:
        raise argparse.ArgumentTypeError(f"{text} is not from 1024 to 65532: four ports are taken from there")
    return value
