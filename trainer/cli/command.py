"""How a command of `python -m trainer` declares itself, and what commands have in common."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO, TypeAlias, cast

from rich.console import Console

from carlad.log import configure, get_logger

if TYPE_CHECKING:
    from trainer.config import Config

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace], int]

log = get_logger("carlad.trainer")

EXIT_CODES = "Exit codes: 0 done, or stopped by a signal and saved; 1 failed; 2 bad usage or configuration."


def add_command(
    commands: Commands, name: str, run: Run, description: str, examples: str
) -> argparse.ArgumentParser:
    """`description`: its first sentence is the command's line in the list. `run` returns the exit code."""
    parser = commands.add_parser(
        name,
        help=description.partition(". ")[0].rstrip("."),
        description=description,
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """The options that `configuration` reads."""
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        action="append",
        default=[],
        help="a TOML file, or a packaged one: training (the default), environment, docker, demo; "
        "may be repeated, later ones win",
    )
    parser.add_argument(
        "-o",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the configuration, such as ppo.lr=3e-4 or servers.sessions=4; may be repeated",
    )


def configuration(arguments: argparse.Namespace, saved: Config | None = None) -> Config:
    """Of the files and overrides that were given; without files that which was `saved`, or "training"."""
    from trainer import config

    if saved is not None and not arguments.config:
        return config.override(saved, arguments.overrides)
    return config.load_training_config(*arguments.config, overrides=arguments.overrides)


def console_with_log() -> Console:
    """The console on stderr, with the log's lines above what is drawn there."""
    console = Console(stderr=True)
    configure(stream=cast(TextIO, _Lines(console)))
    return console


def stop_on_signals() -> Callable[[], bool]:
    """Whether SIGINT or SIGTERM came: the command saves and ends then. A second one ends it at once."""
    stopped = threading.Event()

    def note(number: int, _frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        log.info("trainer.stopping", signal=signal.Signals(number).name, again="ends at once")

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
