"""`python -m carlad.image`: what the images of docker/ run."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial

import trio

from carlad.errors import CarladError, ConfigError
from carlad.image import keys, server
from carlad.image.folders import Folders, folders
from carlad.image.simulator import number, truth
from carlad.log import configure

_WATCHDOG_S = 10.0
_DRAIN_WITHIN_S = 60.0


def main() -> int:
    """Exit codes: the daemon's or the training's; 1 failed or not healthy, 2 bad usage or configuration."""
    arguments = _parser().parse_args()
    configure()
    try:
        return int(arguments.run(arguments, os.environ, folders(os.environ)))
    except ConfigError as error:
        print(f"carlad.image: {error}", file=sys.stderr)
        return 2
    except (CarladError, OSError) as error:
        print(f"carlad.image: {error}", file=sys.stderr)
        return 1


def _server(_arguments: argparse.Namespace, environ: Mapping[str, str], where: Folders) -> int:
    from carlad.image.watch import Watch

    where.runtime.mkdir(parents=True, exist_ok=True)
    config = server.write(environ, where, keys.of_daemon(where.keys, where.client, where.runtime))
    daemon = [*_screen(environ), sys.executable, "-m", "carlad", "--config", str(config)]
    watchdog_s = number(environ, "CARLAD_WATCHDOG_S", _WATCHDOG_S)
    return trio.run(Watch(daemon, environ, where.runtime, watchdog_s).run)


def _screen(environ: Mapping[str, str]) -> list[str]:
    """Xvfb's, where a window is wanted, there is no other, and the image has it."""
    wanted = not truth(environ, "CARLA_HEADLESS", default=True) and not environ.get("DISPLAY")
    return ["xvfb-run", "--auto-servernum"] if wanted and shutil.which("xvfb-run") else []


def _trainer(arguments: argparse.Namespace, environ: Mapping[str, str], where: Folders) -> int:
    from carlad.image import training

    where.runtime.mkdir(parents=True, exist_ok=True)
    return trio.run(partial(training.run, arguments.arguments, environ, where))


def _health(arguments: argparse.Namespace, environ: Mapping[str, str], where: Folders) -> int:
    from carlad.image.health import look

    found = look(environ, where)
    print(found.says)
    return 0 if (found.alive if arguments.alive else found.serving) else 1


def _drain(arguments: argparse.Namespace, _environ: Mapping[str, str], where: Folders) -> int:
    from carlad.image.drain import drain

    held = drain(f"ipc://{where.socket}", arguments.within)
    print(f"{held} servers are still held after {arguments.within:g} s" if held else "no server is held")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m carlad.image",
        description="What runs in carlad's images. docs/docker.md has the variables that it heeds.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("server", help="carlad and its servers, watched over").set_defaults(run=_server)
    trainer = commands.add_parser("trainer", help="a training and its TensorBoard")
    trainer.add_argument("arguments", nargs=argparse.REMAINDER, help="of python -m trainer")
    trainer.set_defaults(run=_trainer)
    health = commands.add_parser("health", help="exit code 0 if there are servers to be had")
    health.add_argument("--alive", action="store_true", help="if only a daemon answers")
    health.set_defaults(run=_health)
    drain = commands.add_parser("drain", help="lease no more, and wait until nothing is held")
    drain.add_argument("--within", type=float, default=_DRAIN_WITHIN_S, metavar="S", help="(default: 60)")
    drain.set_defaults(run=_drain)
    return parser


if __name__ == "__main__":
    sys.exit(main())
