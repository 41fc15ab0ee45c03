"""`carlactl doctor`."""

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
        "Look for what would keep carlad from working, each with its remedy. That is packages, GPU, ports, "
        "disk, limits and the like; with --server one server is tried out: started as carlad.toml says, "
        "measured, asked everything that carlad relies on, and ended, which takes about a minute.",
        """\
  carlactl doctor --config carlad.toml
  carlactl doctor --server                             the bundled stand-in
  carlactl doctor --server --config carlad.toml
  carlactl doctor --server --transcript server.json    what it was asked and answered, for a report
""",
        _EXIT_CODES,
        asks_daemon=False,
    )
    parser.add_argument("--server", action="store_true", help="try out a server")
    _file(parser.add_argument("--config", type=Path, metavar="FILE", help="TOML; without it the defaults"))
    _file(parser.add_argument("--transcript", type=Path, metavar="FILE", help="write it here, as JSON"))
    add_json(parser)


def _file(action: argparse.Action) -> None:
    action.complete = "file"  # type: ignore[attr-defined]


def _doctor(arguments: argparse.Namespace) -> int:
    return _try_out_server(arguments) if arguments.server else _look_around(arguments)


def _look_around(arguments: argparse.Namespace) -> int:
    import msgspec

    from carlad import config
    from carlad.checkup import surroundings, tables
    from carlad.cli.output import console

    found = surroundings.look_around(config.load(arguments.config))
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    else:
        console().print(tables.findings(found))
    return Exit.FAILED if any(finding.level == "wrong" for finding in found) else Exit.DONE


def _try_out_server(arguments: argparse.Namespace) -> int:
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
