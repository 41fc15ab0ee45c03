"""Every command and program of docs/viewers.md, taken from its text and run."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from carlad.keys import as_hex, read_public, write_pair
from tests.telemetry.watching import wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "viewers.md").read_text()
FILES = ("--snapshot", "--video", "--record")
WITHOUT_WINDOW = (*FILES, "--list", " info ")
SESSION = """
import carlad
with carlad.session("route") as env:
    print("open", flush=True)
    for seed in range(1_000_000):
        env.reset(seed=seed)
        while not any(env.step([0.0, 0.3])[2:4]):
            pass
"""


def commands() -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def test_files_that_the_page_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_programs_of_the_page_run(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=_environment(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("[1. 1.]") == 3


@pytest.mark.system
def test_commands_of_the_page_work(tmp_path: Path) -> None:
    environment = _environment(tmp_path)
    endpoint = f"ipc://{tmp_path}/view"
    key = _keys(tmp_path, environment)
    with ExitStack() as stack:
        publish = [sys.executable, "-m", "tests.viz.driving", endpoint, "--camera"]
        stack.enter_context(_running(publish, tmp_path, environment, says="publishing"))
        daemon = [sys.executable, "-m", "carlad", "--config", str(_configuration(tmp_path))]
        stack.enter_context(_running(daemon, tmp_path, environment))
        wait_until(lambda: (tmp_path / "carlad" / "control.sock").exists(), within_s=60)
        stepping = [sys.executable, "-c", SESSION]
        stack.enter_context(_running(stepping, tmp_path, environment, says="open"))
        session = _run("python -m viz --list", tmp_path, environment).partition("\t")[0]
        assert session.startswith("session-")
        _write_run(tmp_path / "data" / "runs" / "first", endpoint)
        here = {
            "session-1f00c2a9": session,
            "ipc:///run/carlad/1f00c2a9.view": endpoint,
            "KEY@gpu1.lab": f"{key}@127.0.0.1",
        }
        for command in commands():
            for written, meant in here.items():
                command = command.replace(written, meant)
            _try(command, tmp_path, environment)


def _try(command: str, folder: Path, environment: dict[str, str]) -> None:
    """What makes a file is run to its end, and the file looked for; a window is opened and closed."""
    if not any(words in command for words in WITHOUT_WINDOW):
        _open_window(command, folder, environment)
        return
    parts = shlex.split(command)
    made = [folder / parts[parts.index(option) + 1] for option in FILES if option in parts]
    for file in made:
        file.unlink(missing_ok=True)
    _run(command, folder, environment)
    assert all(file.stat().st_size > 5_000 for file in made), command


def _run(command: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=folder,
        env=environment,
        timeout=180,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stderr}"
    return done.stdout


def _open_window(command: str, folder: Path, environment: dict[str, str]) -> None:
    """On SDL's dummy screen, until it has drawn for a while."""
    arguments = [sys.executable, *shlex.split(command)[1:]]
    with subprocess.Popen(arguments, cwd=folder, env=environment | {"SDL_VIDEODRIVER": "dummy"}) as process:
        shown = psutil.Process(process.pid)
        wait_until(lambda: process.poll() is not None or _has_pygame(shown), within_s=120)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def _has_pygame(process: psutil.Process) -> bool:
    return any("pygame/display" in mapped.path for mapped in process.memory_maps())


def _write_run(run: Path, endpoint: str) -> None:
    run.mkdir(parents=True)
    sessions = [{"session": name, "telemetry": endpoint} for name in ("env-0", "env-1")]
    (run / "sessions.json").write_text(json.dumps({"sessions": sessions}))


def _configuration(folder: Path) -> Path:
    """Of a daemon that other machines reach, too."""
    remote = f'[remote]\nlisten = ["tcp://127.0.0.1:7000"]\nkeys_dir = "{folder}/keys"\n'
    path = folder / "carlad.toml"
    path.write_text(f"{remote}session_ports = [7100, 7199]\n")
    return path


def _keys(folder: Path, environment: dict[str, str]) -> str:
    """A publisher's keys and a client's, which it knows; the publisher's public one in hexadecimal."""
    write_pair(folder / "keys", "server")
    write_pair(folder / "mine", "client")
    (folder / "keys" / "clients").mkdir()
    (folder / "keys" / "clients" / "me.key").write_bytes((folder / "mine" / "client.key").read_bytes())
    environment["CARLAD_KEY"] = str(folder / "mine" / "client.key_secret")
    return as_hex(read_public(folder / "keys" / "server.key"))


@contextmanager
def _running(
    command: list[str], folder: Path, environment: dict[str, str], says: str | None = None
) -> Iterator[None]:
    out = subprocess.PIPE if says else None
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=out, text=True) as process:
        try:
            if process.stdout is not None:
                assert process.stdout.readline() == f"{says}\n"
            yield
            assert process.poll() is None
        finally:
            process.terminate()


def _environment(folder: Path) -> dict[str, str]:
    """Sockets and state below `folder`."""
    ours = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **ours}
