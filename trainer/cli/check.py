"""`python -m trainer check`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from trainer.cli.command import Commands, add_command, add_configuration, configuration, console_with_log

_EXAMPLES = """\
  python -m trainer check
  python -m trainer check --config mine.toml -o train.device=cuda
  CARLA_PORT=2000 python -m trainer check              # a server without carlad
"""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "check",
        _run,
        "See whether a training could start here: imports, device, folders, and a lease with some steps.",
        _EXAMPLES,
    )
    add_configuration(parser)


def _run(arguments: argparse.Namespace) -> int:
    console_with_log()
    config = configuration(arguments)
    from trainer.check import check

    console, failed = Console(highlight=False, soft_wrap=True), 0
    with tempfile.TemporaryDirectory(prefix="carlad-check-") as logs:
        for finding in check(config, Path(logs)):
            mark = "[green]ok  [/]" if finding.ok else "[red]FAIL[/]"
            console.print(mark, f"{finding.what}:", finding.found.replace("[", r"\["))
            if finding.advice:
                console.print("      ", finding.advice.replace("[", r"\["))
            failed += not finding.ok
    console.print(
        f"{failed} of these keep a training from starting" if failed else "a training can start here"
    )
    return 1 if failed else 0
