from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from msgspec import structs

from carlad.config import LogsSection
from carlad.errors import ConfigError
from carlad.fleet.backends.interface import Launch
from carlad.fleet.leftovers import Incarnation, end_leftovers, run_folder, state_directory, write
from carlad.fleet.marks import MARK, end_marked, marked
from carlad.fleet.server import running
from carlad.fleet.shim import start_time
from tests.fleet.processes import REPOSITORY, bystander, eventually, is_running, parent_of, pids_with

# A daemon that starts a server on its own, says so and is killed.
DAEMON = """
import os, signal, sys, trio
from pathlib import Path
from carlad.config import LogsSection
from carlad.fleet.backends.interface import Launch
from carlad.fleet.server import running
from carlad.fleet.shim import start_time

async def main(runs):
    launch = Launch(("/bin/sh", "-c", "trap '' TERM; setsid sleep 1000 & wait"), dict(os.environ), "/")
    log, hurry = runs.parent / "log", trio.Event()
    async with running(launch, runs / "0-1", log, hurry, LogsSection(stamps=False)) as server:
        print(server.pid, flush=True)
        await trio.sleep_forever()

trio.run(main, Path(sys.argv[1]))
"""


def killed_daemon(runs: Path, environ: dict[str, str]) -> int:
    """The pid of the server that it left running."""
    command = [sys.executable, "-c", DAEMON, str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=REPOSITORY) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
    assert is_running(pid)
    return pid


def test_the_state_directory_is_made_for_its_owner_only(tmp_path):
    path = tmp_path / "a" / "b"
    with state_directory(path) as runs:
        assert runs.is_dir()
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_second_daemon_is_refused_and_the_first_is_named(tmp_path):
    refused = pytest.raises(ConfigError, match=rf"{tmp_path} is in use by the carlad with pid {os.getpid()}")
    with state_directory(tmp_path), refused, state_directory(tmp_path):
        pass
    with state_directory(tmp_path):
        pass


def test_a_state_directory_that_cannot_be_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(ConfigError, match=r"daemon\.state_dir: cannot use .*file/x")
    with refused, state_directory(tmp_path / "file" / "x"):
        pass


def test_an_error_inside_is_not_taken_for_a_lock(tmp_path):
    with pytest.raises(BlockingIOError), state_directory(tmp_path):
        raise BlockingIOError


def test_what_a_killed_daemon_left_is_ended_before_anything_else(tmp_path, environ):
    with state_directory(tmp_path) as runs:
        pid = killed_daemon(runs, environ)
        trio.run(end_leftovers, runs)
        assert not is_running(pid)
        assert pids_with(environ["CARLAD_TEST"]) == []
        assert list(runs.iterdir()) == []


def test_it_is_ended_even_where_its_shim_was_killed_too(tmp_path, environ):
    with state_directory(tmp_path) as runs:
        pid = killed_daemon(runs, environ)
        os.kill(parent_of(pid), signal.SIGKILL)
        trio.run(end_leftovers, runs)
        assert pids_with(environ["CARLAD_TEST"]) == []
        assert list(runs.iterdir()) == []


def test_a_folder_of_an_earlier_boot_or_without_sense_is_only_removed(tmp_path, environ):
    with state_directory(tmp_path) as runs, bystander({**environ, MARK: "a-mark"}) as innocent:
        (runs / "0-1").mkdir()
        write(runs / "0-1", Incarnation("a-mark", "another boot", innocent.pid, start_time(innocent.pid)))
        (runs / "1-1").mkdir()
        (runs / "1-1" / "incarnation.json").write_text("{")
        trio.run(end_leftovers, runs)
        assert list(runs.iterdir()) == []
        assert is_running(innocent.pid)


def test_a_pid_that_now_belongs_to_somebody_else_is_left_alone(tmp_path, environ):
    with state_directory(tmp_path) as runs, bystander(environ) as innocent:
        with run_folder(runs / "0-1") as incarnation:
            write(runs / "0-1", structs.replace(incarnation, shim_pid=innocent.pid, start_time=1))
            trio.run(end_leftovers, runs)
        assert is_running(innocent.pid)


def test_marked_processes_are_killed_until_there_is_none(environ):
    script = "setsid sleep 1000 & sleep 1000 & echo up; wait"
    environ[MARK] = environ["CARLAD_TEST"]
    with subprocess.Popen(["/bin/sh", "-c", script], env=environ, stdout=subprocess.DEVNULL) as tree:
        eventually(lambda: len(marked(environ[MARK])) == 3)
        trio.run(end_marked, environ[MARK])
        assert marked(environ[MARK]) == []
        assert tree.wait() == -signal.SIGKILL


def test_one_that_is_just_being_executed_is_found_too(environ):
    """For a moment of its start a process has no environment: about one look of a hundred sees none."""
    environ[MARK] = environ["CARLAD_TEST"]
    for _ in range(100):
        with subprocess.Popen(["setsid", "sleep", "1000"], env=environ) as process:
            try:
                trio.run(end_marked, environ[MARK])
                assert process.wait(5.0) == -signal.SIGKILL
            finally:
                process.kill()


def test_a_server_of_a_living_daemon_leaves_no_folder(tmp_path, environ):
    async def scenario(runs):
        launch = Launch(("/bin/sleep", "1000"), environ, "/")
        async with running(launch, runs / "0-1", tmp_path / "log", trio.Event(), LogsSection(stamps=False)):
            assert (runs / "0-1" / "incarnation.json").exists()
        assert list(runs.iterdir()) == []

    with state_directory(tmp_path) as runs:
        trio.run(scenario, runs)
