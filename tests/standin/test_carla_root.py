"""A directory that launchers take for a CARLA installation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import carla
import psutil
import pytest

from tests.ports import free_port, listens
from tests.standin.process import READY_S, eventually

BINARY = "CarlaUE4-Linux-Shipping"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "carlad.standin", "--make-carla-root", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("carla root")  # with a blank, as people have it
    done = make(str(directory))
    assert (done.returncode, done.stdout) == (0, f"{directory}/CarlaUE4.sh\n")
    return directory


@contextmanager
def launched(command: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """As most launchers do it: by a shell, in a process group of its own."""
    process = subprocess.Popen(
        command, shell=True, cwd=cwd, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if _members(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5.0)


def test_a_launcher_starts_it_and_the_client_connects(root: Path) -> None:
    port = free_port()
    flags = f"-RenderOffScreen --quality-level=Low -nosound -benchmark -fps=10 -carla-rpc-port={port}"
    (root / "PythonAPI" / "carla" / "msgspec.py").write_text("raise ImportError('the launcher's directory')")
    with launched(f"'{root}/CarlaUE4.sh' {flags}", root / "PythonAPI" / "carla") as shell:
        world = _connected(port)
        assert world.get_map().name == "Carla/Maps/Town10HD_Opt"
        assert world.get_settings().fixed_delta_seconds == pytest.approx(0.1)
        assert any(
            other.name() == BINARY[:15] for other in psutil.Process(shell.pid).children(recursive=True)
        )


@pytest.mark.parametrize("command", ["pkill -9 -f -g {group} CarlaUE4", "pkill -f -g {group} " + BINARY])
def test_it_is_found_and_killed_by_carla_s_name(root: Path, command: str) -> None:
    port = free_port()
    with launched(f"exec '{root}/CarlaUE4.sh' -carla-world-port={port}", root) as script:
        _connected(port)
        subprocess.run(command.format(group=script.pid), shell=True, check=True)
        eventually(lambda: not _members(script))


def test_the_script_forwards_no_signals_as_carla_s_does_not(root: Path) -> None:
    port = free_port()
    with launched(f"exec '{root}/CarlaUE4.sh' -carla-rpc-port={port}", root) as script:
        _connected(port)
        script.terminate()
        script.wait(5.0)
        assert [member.name() for member in _members(script)] == [BINARY[:15]]


def test_a_map_may_follow_as_unreal_takes_it_and_options_are_the_root_s(tmp_path: Path) -> None:
    assert make(str(tmp_path), "--fault", "wrong-version=0.9.15", "--map=Town01").returncode == 0
    port = free_port()
    with launched(f"{tmp_path}/CarlaUE4.sh /Game/Carla/Maps/Town02 -carla-rpc-port={port}", tmp_path):
        assert _connected(port).get_map().name == "Carla/Maps/Town02"
        assert carla.Client("127.0.0.1", port).get_server_version() == "0.9.15"


def test_it_has_what_programs_look_for(root: Path) -> None:
    assert (root / "VERSION").read_text() == "0.9.16\n"
    assert (root / "CarlaUE4" / "Content" / "Carla" / "Maps" / "OpenDrive" / "Town03.xodr").is_file()
    assert (root / "PythonAPI" / "carla" / "dist").is_dir()


def test_it_is_written_again_over_itself_but_over_nothing_else(root: Path, tmp_path: Path) -> None:
    assert make(str(root)).returncode == 0
    (tmp_path / "thesis.tex").write_text("")
    done = make(str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "it is not empty; name another directory" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.tex"]


def _connected(port: int) -> carla.World:
    eventually(lambda: listens(port), READY_S)
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(10.0)
    return client.get_world()


def _members(leader: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Who is left of a process group, zombies aside."""
    return [process for process in psutil.process_iter() if _group(process) == leader.pid]


def _group(process: psutil.Process) -> int:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if process.status() != psutil.STATUS_ZOMBIE:
            return os.getpgid(process.pid)
    return 0
