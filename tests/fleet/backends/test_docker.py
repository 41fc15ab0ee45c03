from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from carlad.config import DockerSection, FleetSection
from carlad.errors import ConfigError
from carlad.fleet.backends.docker import docker_launcher, docker_run
from carlad.fleet.ports import Ports
from tests.fleet.processes import REPOSITORY

PORTS = Ports(2000)


@pytest.fixture
def environ(tmp_path):
    """A PATH with a docker that says what the test wants, as `answers` on disk."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho engine says no >&2; exit 1\n")
    docker.chmod(0o755)
    return {"PATH": str(tmp_path)}


def command(environ, fleet=None, docker=None):
    started = docker_run(fleet or FleetSection(), docker or DockerSection(), "/state/run", PORTS, environ)
    return started.argv


def test_a_container_is_named_labelled_published_on_loopback_and_given_carlas_flags(environ):
    argv = command(environ, FleetSection(extra_args=("-benchmark",)))
    assert argv[0] == f"{environ['PATH']}/docker"
    assert argv[1:] == (
        "run", "--rm", "--init", "--pull=never", "--name=carlad-2000", "--label=io.carlad.runs=/state/run",
        "--log-driver=none", "--ulimit=core=0", "--publish=127.0.0.1:2000-2002:2000-2002", "--gpus=all",
        "--env=NVIDIA_DRIVER_CAPABILITIES=all", "carlasim/carla:0.9.16", "bash", "CarlaUE4.sh",
        "-RenderOffScreen", "-nosound", "-quality-level=Low", "-ResX=800", "-ResY=600",
        "-carla-rpc-port=2000", "-carla-streaming-port=2001", "-benchmark",
    )  # fmt: skip


def test_ports_are_published_beyond_loopback_only_where_others_are_told_to_come(environ):
    argv = command(environ, FleetSection(advertise_host="node7"))
    assert "--publish=0.0.0.0:2000-2002:2000-2002" in argv


def test_the_machines_own_network_publishes_nothing(environ):
    argv = command(environ, docker=DockerSection(network="host"))
    assert "--network=host" in argv
    assert not any(argument.startswith("--publish") for argument in argv)


def test_the_operators_own_arguments_stand_before_the_image(environ):
    docker = DockerSection(run_args=("--shm-size=8g",), image="mine:1", command=("./go",), gpus="")
    argv = command(environ, docker=docker)
    assert argv[argv.index("--shm-size=8g") :][:3] == ("--shm-size=8g", "mine:1", "./go")
    assert not any(argument.startswith("--gpus") for argument in argv)


@pytest.mark.parametrize(
    ("fleet", "extra", "says"),
    [
        ({"user": "carla"}, {}, r"fleet\.user: a container has a user of its own"),
        ({}, {"DOCKER_HOST": "tcp://10.0.0.1:2375"}, "DOCKER_HOST: tcp://10.0.0.1:2375 may be another"),
        ({}, {"PATH": "/nowhere"}, "needs the docker command, which is not in PATH"),
        ({}, {}, r"cannot reach the engine: engine says no; start it, or let .*\(group docker\)"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_started(environ, fleet, extra, says):
    with pytest.raises(ConfigError, match=says):
        docker_launcher(FleetSection(**fleet), DockerSection(), "me", environ | extra)


def test_an_image_that_is_not_there_is_not_pulled_but_named(environ):
    script = '#!/bin/sh\n[ "$1" = version ] && echo 20.10 && exit 0\nexit 1\n'
    Path(environ["PATH"], "docker").write_text(script)
    with pytest.raises(ConfigError, match=r"docker\.image: carlasim/carla:0\.9\.16 is not on this machine"):
        docker_launcher(FleetSection(), DockerSection(), "me", environ)


@pytest.mark.system
def test_containers_of_a_real_engine_are_supervised_as_processes_are(tmp_path):
    """In a network of its own, because an engine changes the machine's firewall."""
    tests = f"{sys.executable} -m pytest --basetemp={tmp_path / 'inside'} -rs {ENGINE_TESTS}"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", f"ip link set lo up && exec {tests}"],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode == 0 and " passed" not in done.stdout:
        pytest.skip(done.stdout.partition("SKIPPED")[2].strip() or "no engine could be started")
    assert done.returncode == 0, done.stdout + done.stderr


ENGINE_TESTS = "tests/fleet/backends/engine_scenarios.py"
