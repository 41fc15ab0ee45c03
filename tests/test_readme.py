"""The README's commands, taken from its text and run as a newcomer would."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    snippets = [f"{sys.executable} -c {shlex.quote(snippet)}" for snippet in blocks("python")]
    environment = _environment(tmp_path)
    activate, start, *commands = using.splitlines()
    train, look, board = training.splitlines()
    assert (activate, start) == ("source .venv/bin/activate", "carlad &")
    with _running("carlad", tmp_path, environment):
        _until(lambda: _call("carlactl status", tmp_path, environment).returncode == 0)
        for command in (*commands, *snippets):
            _call(command, tmp_path, environment).check_returncode()
        with _running(train.removesuffix(" &"), tmp_path, environment):
            _call(look, tmp_path, environment).check_returncode()
    assert (tmp_path / "data" / "first.png").stat().st_size > 10_000
    port = _free_port()
    with _running(f"{board} --port {port}", tmp_path, environment):
        _until(lambda: _answers(port))


@pytest.mark.system
def test_the_doctor_of_the_readme_tries_out_a_server(tmp_path: Path) -> None:
    (command,) = [line for block in blocks("console") for line in block.splitlines() if "doctor" in line]
    (tmp_path / "carlad.toml").write_text('[fleet]\nbackend = "standin"\nports = [29000, 29011]\n')
    done = _call(command, tmp_path, _environment(tmp_path))
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


@contextmanager
def _running(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(shlex.split(command), cwd=folder, env=environment) as process:
        try:
            yield
            assert process.poll() is None
        finally:
            process.terminate()
    assert process.returncode in (0, -signal.SIGTERM)


def _call(
    command: str, folder: Path, environment: dict[str, str], within_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=environment,
        timeout=within_s,
        capture_output=True,
        text=True,
        check=False,
    )


def _until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def _environment(folder: Path) -> dict[str, str]:
    """A shell of its own: entry points on PATH, sockets and state below `folder`."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
    }
