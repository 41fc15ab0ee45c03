"""The image on CARLA's own, and the profiles for it, on a real engine.

In CARLA's place is an image with the same user, folder and script, whose simulator is the stand-in. Nobody
asks for a card, which is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import Images
from tests.docker.deployment import Deployment, until
from tests.docker.engine import DEBIAN

pytestmark = pytest.mark.system

_WITHOUT_CARD = """\
services:
  carla-server:
    deploy: !reset null
"""
_ENVIRON = {
    "CARLAD_SERVERS": "1",
    "CARLA_ARGS": "-carla-server -world-port=2000 -ResX=640 -ResY=480 -mine",
    "CARLA_CPUS": "2",
}
_SERVICES = {"gpu": "carla-server", "cpu": "carla-server-cpu"}


@pytest.fixture(params=_SERVICES)
def deployment(request: pytest.FixtureRequest, images: Images, tmp_path: Path) -> Iterator[Deployment]:
    """Not up yet."""
    (tmp_path / "compose.yaml").write_text(_WITHOUT_CARD)
    files = {"COMPOSE_FILE": f"compose.yaml:{tmp_path}/compose.yaml"} if request.param == "gpu" else {}
    environ = {**_ENVIRON, **files, "COMPOSE_PROFILES": request.param}
    one = Deployment(images.engine, _SERVICES[request.param], environ)
    yield one
    one.deploy("down", "--volumes")


def simulator(deployment: Deployment) -> list[str]:
    """The command line of the one that runs."""
    slot = deployment.status()["slots"][0]
    return deployment.inside(deployment.server, "cat", f"/proc/{slot['pid']}/cmdline").split("\0")


def test_the_profile_comes_up_healthy_with_carlas_own_script_and_is_leased(deployment: Deployment) -> None:
    deployment.deploy("start-carla")
    command = simulator(deployment)
    assert "--process-name=CarlaUE4-Linux-Shipping" in command  # what CarlaUE4.sh starts
    assert {"-carla-rpc-port=2000", "-ResX=640", "-ResY=480", "-mine"} <= set(command)
    assert ("-nullrhi" in command) == deployment.server.startswith("carlad-carla-server-cpu")
    assert ("-RenderOffScreen" in command) != ("-nullrhi" in command)
    assert deployment.inside(deployment.server, "stat", "--format=%U", "/opt/carla").strip() == "carla"
    lease = json.loads(deployment.deploy("carlactl", "lease", "--json"))
    assert (lease["host"], lease["rpc_port"]) == ("carla-server", 2000)


def test_a_training_runs_on_it(deployment: Deployment) -> None:
    training = {"TRAIN_CONFIG": "demo", "TRAIN_RUN": "on-carla", "TRAIN_ARGS": "-o servers.sessions=1"}
    deployment.deploy("up", **training)
    until(lambda: deployment.steps() > 0)
    assert deployment.status()["leases"]


@pytest.mark.parametrize("deployment", ["gpu"], indirect=True)
def test_a_window_is_had_by_xvfb(deployment: Deployment) -> None:
    deployment.deploy("start-carla", CARLA_HEADLESS="false")
    assert "-RenderOffScreen" not in simulator(deployment)
    pid = deployment.status()["slots"][0]["pid"]
    environ = deployment.inside(deployment.server, "cat", f"/proc/{pid}/environ").split("\0")
    (display,) = [value for value in environ if value.startswith("DISPLAY=:")]
    screen = display.removeprefix("DISPLAY=:")
    deployment.inside(deployment.server, "test", "-S", f"/tmp/.X11-unix/X{screen}")


def test_carla_is_found_where_newer_images_have_it(images: Images, tmp_path: Path) -> None:
    """/workspace instead of the user's home."""
    moved = "FROM carlasim/carla:0.9.16\nUSER 0\nRUN mv /home/carla /workspace && mkdir /home/carla\n"
    (tmp_path / "Dockerfile").write_text(moved)
    run = images.engine.run
    run("docker", "build", "--network=host", "-t", "moved", str(tmp_path), DOCKER_BUILDKIT="1")
    build = ("docker", "build", "--network=host", "-f", "docker/Dockerfile", "-t", "carlad:moved")
    args = {**images.args, "SIMULATOR": "carla", "CARLA": "moved", "DEBIAN": DEBIAN}
    options = [part for name, value in args.items() for part in ("--build-arg", f"{name}={value}")]
    run(*build, "--target=daemon-carla", *options, ".", DOCKER_BUILDKIT="1")
    found = run("docker", "run", "--rm", "carlad:moved", "sh", "-c", "cat $CARLA_ROOT/VERSION")
    assert found.stdout.strip() == "0.9.16"
    for image in ("carlad:moved", "moved"):
        run("docker", "rmi", image)
