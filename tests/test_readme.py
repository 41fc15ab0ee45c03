"""The README's commands, taken from its text and run as a newcomer would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from carlad import config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_toml_of_the_readme_is_a_valid_configuration() -> None:
    for block in blocks("toml"):
        assert config.decode(block).fleet.backend == "binary"


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.system
def test_commands_of_the_readme_work(tmp_path: Path) -> None:
    _trying, using, *_ = blocks("console")
    training = next(block for block in blocks("console") if "trainer train" in block)
    (snippet,) = blocks("python")
    environment = _environment(tmp_path)
    commands = using.splitlines()[2:]  # after activating .venv and starting the daemon
    assert using.splitlines()[:2] == ["source .venv/bin/activate", "carlad &"]
    with subprocess.Popen(["carlad"], cwd=tmp_path, env=environment) as daemon:
        try:
            for command in commands[1:2] + commands + training.splitlines()[:2]:
                _run(shlex.split(command), tmp_path, environment)
            _run([sys.executable, "-c", snippet], tmp_path, environment)
        finally:
            daemon.terminate()
    assert daemon.returncode == 0
    assert (tmp_path / "data" / "first.png").stat().st_size > 10_000


@pytest.mark.system
def test_demo_with_a_learning_rate_of_zero_fails(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "carlad.demo", "--out", str(tmp_path / "demo"), "-o", "ppo.learning_rate=0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "did not get clearly better" in result.stdout


@pytest.mark.system
def test_demo_succeeds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "carlad.demo", "--out", str(tmp_path / "demo")], check=True)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)


def _environment(folder: Path) -> dict[str, str]:
    """A shell of its own: entry points on PATH, sockets and state below `folder`."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
    }
