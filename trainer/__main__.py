"""`python -m trainer`: train a policy on leased CARLA servers."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console

from carlad.errors import CarladError, ConfigError
from carlad.log import configure, get_logger
from trainer.config import flat, load, override

log = get_logger("carlad.trainer")


def main() -> int:
    """Exit codes: 0 done or stopped by a signal, 1 failed, 2 usage or configuration, 130 interrupted."""
    arguments = _parser().parse_args()
    console = Console(stderr=True)
    configure(stream=cast(TextIO, _Lines(console)))
    try:
        _train(arguments, console)
    except (ConfigError, ImportError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    except (CarladError, OSError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("trainer: interrupted; what was learned since the last checkpoint is lost", file=sys.stderr)
        return 130
    return 0


def _train(arguments: argparse.Namespace, console: Console) -> None:
    config = load(arguments.config, arguments.override) if arguments.config is not None else None
    from trainer import checkpoint, train  # imports torch: not for --help or a mistyped key

    resume = checkpoint.load(arguments.resume) if arguments.resume is not None else None
    if config is None:
        if resume is None:
            raise ConfigError(
                "cannot train without a configuration: give --config NAME|FILE or --resume FILE"
            )
        config = override(resume.config, arguments.override)
    where = train.folders(arguments.out, time.strftime("%Y%m%d-%H%M%S"))
    log.info("training.configured", run=where.run, **flat(config))
    train.train(config, where, resume, _stop_on_signals(), console)


def _stop_on_signals() -> Callable[[], bool]:
    """Whether SIGINT or SIGTERM came: the training saves and ends then. A second one interrupts at once."""
    stopped = threading.Event()

    def note(number: int, _frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        log.info("training.stopping", signal=signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return stopped.is_set


class _Lines:
    """A stream for logging that prints above the progress line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.out(text, end="", highlight=False)

    def flush(self) -> None:
        """Nothing is kept back."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description="Reinforcement learning on leased CARLA servers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser(
        "train",
        help="train a policy",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python -m trainer train --config training -o ppo.learning_rate=3e-4 --out data/first\n"
        "  python -m trainer train --resume data/first/checkpoints/checkpoint.pt --out data/second\n"
        "  CARLA_PORT=2000 python -m trainer train --config training    # a server without carlad",
    )
    train.add_argument("--config", metavar="NAME|FILE", help="a TOML file, or a packaged one: training, demo")
    train.add_argument("--resume", type=Path, metavar="FILE", help="go on from this checkpoint")
    train.add_argument(
        "--out", type=Path, metavar="DIR", help="all outputs (default: under data/ and models/)"
    )
    train.add_argument(
        "-o", dest="override", action="append", default=[], metavar="KEY=VALUE", help="e.g. ppo.clip=0.1"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
