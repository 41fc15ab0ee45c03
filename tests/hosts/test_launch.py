from __future__ import annotations

import os
import sys
from pathlib import Path

from carlad.config import EnvSection
from carlad.hosts.launch import Door, launch

DOOR = Door(Path("/r/a.steps"), Path("/r/a.view"), "session-a", Path("/s/a.secret"), 1000, 30.0)


def test_a_host_runs_its_environment_with_the_interpreter_and_the_modules_that_it_wants() -> None:
    env = EnvSection(env="old.town:Env", python="/opt/py37/bin/python", path=("/src", "/more"))
    started = launch(env, DOOR, {})
    assert started.argv[:5] == ("/opt/py37/bin/python", "-m", "carlad.session", "--env", "old.town:Env")
    assert started.environ == {"PYTHONPATH": "/src:/more"}
    assert launch(EnvSection(env="a:B"), DOOR, {}).argv[0] == sys.executable


def test_the_daemons_own_interpreter_finds_what_the_daemon_finds() -> None:
    environ = {"PYTHONPATH": f"/clone{os.pathsep}here"}
    env = EnvSection(env="a:B", path=("/srv/mine",))
    assert launch(env, DOOR, environ).environ["PYTHONPATH"] == f"/srv/mine:/clone:{Path('here').absolute()}"
    other = EnvSection(env="a:B", python="/opt/py310/bin/python")
    assert launch(other, DOOR, environ).environ == {}


def test_a_host_gets_nothing_of_the_daemons_environment_that_could_be_a_secret() -> None:
    environ = {"PATH": "/bin", "HOME": "/root", "CUDA_VISIBLE_DEVICES": "1", "TZ": "UTC"}
    secret = {"AWS_SECRET_ACCESS_KEY": "x", "NOTIFY_SOCKET": "/run/x", "PYTHONSTARTUP": "/x.py"}
    assert launch(EnvSection(env="a:B"), DOOR, environ | secret).environ == environ


def test_the_secret_itself_is_not_on_the_command_line() -> None:
    argv = launch(EnvSection(env="a:B"), DOOR, {}).argv
    assert argv[argv.index("--secret-file") + 1] == "/s/a.secret"
