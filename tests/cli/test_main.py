"""Usage, endpoints, help and exit codes of all commands."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from carlad import cli
from carlad.cli import main
from tests.cli.calling import carlactl
from tests.gateway.daemons import FakeDaemon


@pytest.mark.parametrize(
    "arguments", [("status",), ("lease", "--wait", "60"), ("events", "-f"), ("logs", "0")]
)
def test_without_a_daemon_the_exit_code_is_3(tmp_path: Path, arguments: Sequence[str]) -> None:
    said = carlactl(f"{tmp_path}/none.sock", *arguments, code=3)
    assert "start it with `carlad` or set CARLAD_ENDPOINT" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("lease", "--ttl", "soon"),
        ("lease", "--wait", "-1"),
        ("lease", "--wait", "nan"),
        ("lease", "--priority", "10"),
        ("logs",),
        ("logs", "zero"),
        ("drain", "99999999999999999999"),
        ("release", "lease-1", "--token", "99999999999999999999"),
        ("logs", "0", "-n", "0"),
        ("release",),
        ("status", "--frobnicate"),
    ],
)
def test_bad_usage_has_exit_code_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.carlactl(arguments)
    assert exit.value.code == 2
    assert "usage: carlactl" in capsys.readouterr().err


@pytest.mark.parametrize("endpoint", ["ipc:///" + "x" * 200, "tcp://127.0.0.1:5555", "http://here"])
def test_an_endpoint_that_cannot_be_one_has_exit_code_2(
    endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.carlactl(["--endpoint", endpoint, "status"]) == 2
    assert capsys.readouterr().err.startswith("carlactl: endpoint: ")


@pytest.mark.parametrize("before", [True, False])
def test_the_endpoint_may_come_before_or_after_the_command(daemon: FakeDaemon, before: bool) -> None:
    option = ("--endpoint", daemon.endpoint.removeprefix("ipc://"))
    arguments = (*option, "status") if before else ("status", *option)
    command = [sys.executable, "-m", "carlad.cli", *arguments]
    assert str(daemon.pid) in subprocess.check_output(command, text=True, timeout=20)


COMMANDS = list(main.every_command(main.parser()))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.prog)
def test_help_has_examples_and_exit_codes(command: argparse.ArgumentParser) -> None:
    _description, _, examples = command.format_help().partition("examples:")
    assert command.prog in examples
    assert "Exit codes: 0 done" in examples


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.prog)
def test_examples_of_the_help_are_usage_that_is_understood(command: argparse.ArgumentParser) -> None:
    """What comes behind a wide gap is a remark."""
    examples = (command.epilog or "").partition("\n\n")[0].splitlines()[1:]
    parsed = 0
    for example in examples:
        lexer = shlex.shlex(example.strip().partition("   ")[0], posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for is_operator, words in itertools.groupby(lexer, lambda word: set(word) <= set("|&;()<>")):
            *_, called = "".join(f"{word}\0" for word in words).partition("carlactl\0")
            if called and not is_operator:
                assert main._parse(called.split("\0")[:-1]).run
                parsed += 1
    assert parsed or command.prog == "carlactl completion"


def test_the_endpoint_may_come_from_the_environment(daemon: FakeDaemon) -> None:
    shown = subprocess.check_output(
        [sys.executable, "-m", "carlad.cli", "status", "--json"],
        env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
        timeout=20,
    )
    assert json.loads(shown)["daemon"]["pid"] == daemon.pid


def test_versions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.carlactl(["--version"])
    assert capsys.readouterr().out.startswith("carlactl 0.")
    told = subprocess.check_output([sys.executable, "-m", "carlad", "--version"], text=True)
    assert told.startswith("carlad 0.")
