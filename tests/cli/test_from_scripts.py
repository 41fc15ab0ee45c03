"""The commands of docs/from-scripts.md, as they stand there, in a shell and a folder of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.daemon_process import until
from tests.leftovers import ENDS_WITHIN_S

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-scripts.md"
_PYTHON = Path(sys.executable).parent
_WITHIN_S = 240.0  # for each command; seconds on a quiet machine
_PORT = 29_400  # instead of 2000, which may be somebody's

pytestmark = pytest.mark.system


def commands(name: str) -> list[str]:
    block = re.search(rf"<!-- test:{name} -->\n```console\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    assert block is not None
    return block[1].strip().splitlines()


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """A home and a working directory of their own; nothing runs there in the end."""
    for name in ("home", "run", "work"):
        (tmp_path / name).mkdir(mode=0o700)
    mark = f"{tmp_path}/run"
    yield {
        "PATH": f"{_PYTHON}:{os.environ['PATH']}",
        "HOME": f"{tmp_path}/home",
        "XDG_RUNTIME_DIR": mark,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "SDL_VIDEODRIVER": "dummy",
    }
    marked = [process for process in psutil.process_iter() if is_marked(process, mark)]
    _, left = psutil.wait_procs(marked, timeout=ENDS_WITHIN_S)
    for process in left:
        process.kill()
    assert left == []


def is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get("XDG_RUNTIME_DIR") == mark)
    except psutil.Error:
        return False


@pytest.fixture
def run(tmp_path: Path, environ: Mapping[str, str]) -> Callable[[str], str]:
    """What a command prints. It must succeed."""

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", on_our_port(command)],
            cwd=tmp_path / "work",
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


def on_our_port(command: str) -> str:
    command = command.replace("--port 2000", f"--port {_PORT}")
    takes_port = re.fullmatch(
        r"carlactl (server|local carla) (start|stop|restart|logs)|carlactl local( -o .*)?", command
    )
    return f"{command} --port {_PORT}" if takes_port else command


def test_a_server_is_managed_as_by_its_script(run: Callable[[str], str]) -> None:
    start, status, logs, restart, stop = commands("server")
    assert f"ready at 127.0.0.1:{_PORT}" in run(start)
    assert str(_PORT) in run(status)
    assert "ready" in run(logs)
    assert f"ready at 127.0.0.1:{_PORT}" in run(restart)
    assert "has ended" in run(stop)


def test_a_day_with_local_commands(run: Callable[[str], str], tmp_path: Path) -> None:
    said = {command: run(command) for command in commands("local")}
    helped, config, first, start, _status, second, logs, restart, stop = said.values()
    assert "carlactl local viz" in helped
    assert "[train]" in config
    assert "servers for this training: 2, of the bundled stand-in" in first
    assert "ready at" in start
    assert "which goes on afterwards" in second
    assert "ready" in logs
    assert "ready at" in restart
    assert "has ended" in stop
    assert len(list((tmp_path / "work").rglob("progress.jsonl"))) == 2
    assert len(list((tmp_path / "work").rglob("checkpoint.pt"))) == 2
    logs = [path for path in (tmp_path / "home").rglob("*.log") if f"{_PORT}" not in str(path)]
    assert logs == [], "of servers that were there for one training"


def test_everything_can_be_tried_once(run: Callable[[str], str], tmp_path: Path) -> None:
    assert "a training went well on it" in run(f"carlactl local test --port {_PORT}")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_configuration_of_ones_own_is_made_shown_and_used(
    run: Callable[[str], str], tmp_path: Path
) -> None:
    run("EDITOR='sed -i s/1_000_000/0/' carlactl local config --edit")
    assert "# training.toml" in run("carlactl local config")
    with (tmp_path / "work" / "training.toml").open("a") as mine:
        mine.write("\n[servers]\nsessions = 1\n")
    said = run(f"carlactl local --port {_PORT} -o train.eval_episodes=0")
    assert "--config training.toml" in said
    assert "servers.sessions=1" in said, "the configuration's own number of servers was passed over"


def test_a_training_goes_on_where_it_was_ended(run: Callable[[str], str], tmp_path: Path) -> None:
    short = f"carlactl local --port {_PORT} --config demo --servers 1 -o train.eval_episodes=0"
    run(f"{short} --out first -o train.total_steps=512 -o ppo.batch_steps=256")
    again = run(f"carlactl local --port {_PORT} --resume first -o train.total_steps=1024")
    assert "servers for this training: 1," in again
    lines = (tmp_path / "work" / "first" / "progress.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["env_steps"] >= 1024
    assert "no checkpoint.pt" in run("carlactl local --resume . || true")


def test_a_configuration_that_cannot_be_used_is_told_before_anything_is_started(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "work" / "training.toml").write_text("[servers]\nsesions = 1\n")
    command = [f"{_PYTHON}/carlactl", "local", "--port", str(_PORT)]
    done = subprocess.run(command, cwd=tmp_path / "work", env=environ, text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "training.toml" in done.stderr
    assert "sesions" in done.stderr


def test_a_training_that_is_shown_and_interrupted_saves_what_was_learnt_and_leaves_nothing(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    command = [f"{_PYTHON}/carlactl", "local", "viz", "--port", str(_PORT), "--servers", "1", "--out", "out"]
    options = ["-o", "ppo.batch_steps=256", "-o", "train.eval_episodes=0"]
    with (tmp_path / "log").open("wb") as log:
        local = subprocess.Popen([*command, *options], cwd=work, env=environ, stdout=log, stderr=log)
    until(lambda: (work / "out" / "progress.jsonl").exists() or local.poll() is not None, _WITHIN_S)
    assert any("viz" in child.cmdline() for child in psutil.Process(local.pid).children())
    local.send_signal(signal.SIGINT)
    assert local.wait(_WITHIN_S) == 0, (tmp_path / "log").read_text()
    assert (work / "out" / "checkpoints" / "checkpoint.pt").exists()


def test_tensorboard_is_shown_until_it_is_interrupted(environ: Mapping[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [f"{_PYTHON}/carlactl", "local", "tensorboard", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        shown = subprocess.Popen(command, cwd=tmp_path / "work", env=environ, stdout=log, stderr=log)
    try:
        until(lambda: answers(port) or shown.poll() is not None, _WITHIN_S)
    finally:
        shown.send_signal(signal.SIGINT)
        shown.wait(_WITHIN_S)
    assert answers_no_more(port)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def answers_no_more(port: int) -> bool:
    until(lambda: not answers(port), 30.0)
    return True
