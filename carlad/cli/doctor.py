"""`carlactl doctor --server`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli.command import Exit, add_command, add_json

if TYPE_CHECKING:
    from carlad.checkup.checkup import Say
    from carlad.cli.command import Commands

_EXIT_CODES = """\
Exit codes: 0 done and fit for a fleet, 1 not fit, 2 bad usage or configuration (nothing was started).
"""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "doctor",
        _doctor,
        "Try out one server before a fleet is trusted with it. It is started as carlad.toml says, measured, "
        "asked everything that carlad relies on, stopped, and ended; that takes about a minute.",
        """\
  carlactl doctor --server                             the bundled stand-in
  carlactl doctor --server --config carlad.toml
  carlactl doctor --server --transcript server.json    what it was asked and answered, for a report
""",
        _EXIT_CODES,
        asks_daemon=False,
    )
    parser.add_argument("--server", action="store_true", required=True, help="try out a server")
    _file(parser.add_argument("--config", type=Path, metavar="FILE", help="TOML; without it the defaults"))
    _file(parser.add_argument("--transcript", type=Path, metavar="FILE", help="write it here, as JSON"))
    add_json(parser)


def _file(action: argparse.Action) -> None:
    action.complete = "file"  # type: ignore[attr-defined]


def _doctor(arguments: argparse.Namespace) -> int:
    import msgspec
    import trio

    from carlad import config
    from carlad.checkup import tables, transcript
    from carlad.checkup.checkup import check_up
    from carlad.cli.output import console

    configuration = config.load(arguments.config)
    if arguments.transcript is not None:
        arguments.transcript.touch()  # before a minute is spent in vain
    with _progress() as say:
        report, record = trio.run(check_up, configuration, os.environ, say)
    if arguments.transcript is not None:
        transcript.save(record, arguments.transcript)
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        console().print(tables.report(report))
    return Exit.DONE if report.is_fit else Exit.FAILED


@contextmanager
def _progress() -> Iterator[Say]:
    """On stderr: a spinner where that is a terminal, else a line for each step."""
    from rich.console import Console

    if not sys.stderr.isatty():
        yield lambda text: print(f"doctor: {text}", file=sys.stderr, flush=True)
        return
    with Console(stderr=True, highlight=False).status("begins") as spinner:
        yield spinner.update
