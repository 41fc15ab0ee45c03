"""`carlactl server`: one real server, watched by a carlad of its own, and nothing left of both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from carlad.gateway.endpoint import answers
from tests.cli.terminal import at_terminal
from tests.daemon_process import until
from tests.ports import free_port


class Shell:
    """`carlactl server` with a home of its own."""

    def __init__(self, folder: str) -> None:
        without = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "CARLA_ROOT")}
        self.folder = Path(folder)
        self.port = free_port()
        self.environ = {**without, "XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": f"{folder}/state"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "carlad.cli", "server", *words]

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command(*words), env=self.environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def status(self) -> dict[str, object]:
        (server,) = json.loads(self("status", "--json"))
        return dict(server)


@pytest.fixture
def server() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder:
        shell = Shell(folder)
        try:
            yield shell
        finally:
            subprocess.run(shell.command("stop", "--port", str(shell.port)), env=shell.environ, check=False)


def test_a_server_is_started_seen_restarted_where_it_was_and_ended(server: Shell) -> None:
    said = server("start", "--background", "--port", str(server.port))
    assert f"a server is ready at 127.0.0.1:{server.port} with Town" in said
    assert "has a server" in server("start", "--background", "--port", str(server.port), code=1)
    before = server.status()
    assert (before["port"], before["state"]) == (server.port, "LEASED")
    assert f"ready: rpc_port={server.port}" in server("logs", "--port", str(server.port), "-n", "3")
    os.kill(int(str(before["pid"])), signal.SIGKILL)
    until(lambda: (now := server.status())["state"] == "LEASED" and now["pid"] != before["pid"], 30.0)
    after = server.status()
    assert after["rpc_port"] == server.port
    listed = server("kill", "--port", str(server.port), code=1)
    assert str(after["pid"]) in listed
    assert "A carlad starts its servers anew" in listed
    assert psutil.pid_exists(int(str(after["pid"])))
    assert "has ended" in server("stop", "--port", str(server.port))
    assert not psutil.pid_exists(int(str(after["pid"])))
    assert "no server" in server("stop", "--port", str(server.port), code=3)
    assert "no server" in server("status", code=3)


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_server_in_the_foreground_ends_with_its_command(server: Shell, number: signal.Signals) -> None:
    command = server.command("start", "--port", str(server.port))
    with subprocess.Popen(command, env=server.environ, stderr=subprocess.DEVNULL) as foreground:
        socket = server.folder / "carlad" / f"server-{server.port}.sock"
        until(lambda: answers(socket), 20.0)
        foreground.send_signal(number)
        foreground.wait(20)
    until(lambda: not answers(socket), 20.0)


@pytest.mark.system
def test_simulators_are_killed_when_the_one_who_is_asked_agrees(server: Shell) -> None:
    stray = [sys.executable, "-m", "carlad.standin", f"-carla-rpc-port={server.port}"]
    with subprocess.Popen(stray, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as simulator:
        until(lambda: _listens(simulator.pid, server.port), 20.0)
        for answer, is_killed in (("n\n", False), ("y\n", True)):
            with at_terminal(server.command("kill", "--port", str(server.port)), server.environ) as terminal:
                terminal.read_until("[y/N]")
                terminal.type(answer)
                if is_killed:
                    terminal.read_until("1 killed")
                terminal.process.wait(20)
            assert (simulator.poll() is not None) == is_killed
    assert "there is no simulator" in server("kill", "--port", str(server.port))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--resolution", "big"), "fleet.resolution"),
        (("--carla-root", "/nonexistent"), "there is no folder /nonexistent"),
    ],
)
def test_what_cannot_be_started_is_told_and_nothing_runs(
    server: Shell, words: tuple[str, ...], says: str
) -> None:
    began_at, code = time.monotonic(), 2 if "big" in words else 1
    said = server("start", "--background", "--port", str(server.port), *words, code=code)
    assert says in said
    assert time.monotonic() - began_at < 20.0
    assert "no server" in server("status", code=3)
    assert f"runs on port {server.port}" in server("logs", "--port", str(server.port), code=3)


def _listens(pid: int, port: int) -> bool:
    return any(c.laddr.port == port for c in psutil.Process(pid).net_connections("tcp"))
