"""The README's commands, taken from its text and run as a newcomer would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from carlad import config
from tests.pages import Page, answers, call, environment, running, until
from tests.ports import free_port, free_ports

README = Page("README.md")


def test_toml_of_the_readme_is_a_valid_configuration() -> None:
    for block in README.blocks("toml"):
        assert config.decode(block).fleet.backend == "binary"


def test_files_that_the_readme_links_to_exist() -> None:
    assert README.missing() == []


@pytest.mark.system
def test_commands_of_the_readme_work(tmp_path: Path) -> None:
    _trying, starting, using, *_ = README.blocks("console")
    training = next(block for block in README.blocks("console") if "trainer train" in block)
    environ = environment(tmp_path)
    train, look, board = training.splitlines()
    assert starting.splitlines() == ["source .venv/bin/activate", "carlad &"]
    with running("carlad", tmp_path, environ):
        until(lambda: call("carlactl status", tmp_path, environ).returncode == 0)
        for command in (*using.splitlines(), *README.programs()):
            call(command, tmp_path, environ).check_returncode()
        with running(train.removesuffix(" &"), tmp_path, environ):
            call(look, tmp_path, environ).check_returncode()
    assert (tmp_path / "data" / "first.png").stat().st_size > 10_000
    port = free_port()
    with running(f"{board} --port {port}", tmp_path, environ):
        until(lambda: answers(port))


@pytest.mark.system
def test_the_doctor_of_the_readme_tries_out_a_server(tmp_path: Path) -> None:
    (command,) = [line for line in README.commands() if "doctor" in line]
    ports = free_ports(12)
    fleet = f'backend = "standin"\nports = [{ports[0]}, {ports[-1]}]'
    (tmp_path / "carlad.toml").write_text(f"[fleet]\n{fleet}\n")
    done = call(command, tmp_path, environment(tmp_path))
    assert done.returncode == 0


@pytest.mark.system
def test_demo_with_a_learning_rate_of_zero_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "carlad.demo", "--out", str(tmp_path / "demo")]
    result = subprocess.run(
        [*command, "-o", "ppo.learning_rate=0", "-o", "train.total_steps=30000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "did not get clearly better" in result.stdout


@pytest.mark.system
def test_demo_succeeds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "carlad.demo", "--out", str(tmp_path / "demo")], check=True)
