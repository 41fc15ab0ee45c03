"""The stand-in profile on a real engine: built, brought up, trained in, servers killed, the daemon frozen.

One engine and one set of containers for all, in the order of the tests, because both take minutes to make.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engine import Engine, engine, import_debian, or_skip, wheels

pytestmark = pytest.mark.system

SERVER, TRAINING = "carlad-carla-server-standin-1", "carlad-carla-rl-training-1"
ENVIRON = {
    "COMPOSE_PROFILES": "standin",
    "CARLAD_SERVERS": "2",
    "CARLAD_SPARES": "0",
    "CARLA_ARGS": "-carla-server -world-port=2000",
    "TRAIN_CONFIG": "demo",
    "TRAIN_ARGS": "-o train.total_steps=10000000 -o train.eval_episodes=0 -o ppo.learning_rate=1e-4",
    "CARLA_CPUS": "2",
    "TRAINER_CPUS": "2",
}
WITHIN_S = 180.0


class Deployment:
    """What `docker/deploy.sh` deployed, and looks into it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def deploy(self, *arguments: str, check: bool = True) -> str:
        done = self.engine.run("docker/deploy.sh", *arguments, check=check, **ENVIRON)
        return done.stdout

    def inside(self, container: str, *command: str) -> str:
        return self.engine.run("docker", "exec", container, *command).stdout

    def status(self) -> Any:
        """The daemon's; None where it does not answer."""
        command = ["docker", "exec", SERVER, "carlactl", "status", "--json"]
        done = self.engine.run(*command, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def progress(self) -> dict[str, Any]:
        """The training's last update; empty before the first."""
        script = "cat data/logs/*/progress.jsonl 2>/dev/null || true"
        lines = self.inside(TRAINING, "sh", "-c", script).splitlines()
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return found[-1] if found else {}

    def steps(self) -> int:
        return int(self.progress().get("env_steps", 0))

    def goes_on(self) -> None:
        """Returns when the training has taken steps from now on."""
        before = self.steps()
        until(lambda: self.steps() > before)

    def answers(self, url: str) -> bool:
        """From the host that the engine publishes ports on."""
        ask = f"import urllib.request as r; r.urlopen({url!r}, timeout=10)"
        command = self.engine.inside(sys.executable, "-c", ask)
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-")))
        or_skip(folder)
        one = stack.enter_context(engine(folder))
        one.start(alone=False)
        with ThreadPoolExecutor(1) as pool:
            debian = pool.submit(import_debian, one, folder)
            url = stack.enter_context(
                wheels(folder / "wheels", ".[standin,trainer,metrics]", "hatchling", "setuptools", "wheel")
            )
            debian.result()
        one.build("trainer", "carlad:trainer", url)
        one.build("carlad", "carlad:standin", url)
        one.start(alone=True)
        yield Deployment(one)


def test_the_profile_comes_up_healthy_and_trains(deployment: Deployment) -> None:
    deployment.deploy("up")
    assert "healthy" in deployment.deploy("health")
    assert "LEASED" in deployment.deploy("status")
    until(lambda: deployment.steps() > 0)


def test_nothing_in_it_is_root(deployment: Deployment) -> None:
    for container in (SERVER, TRAINING, "carlad-tensorboard-1"):
        assert deployment.inside(container, "id", "-u").strip() == "1000"


def test_leases_name_the_servers_by_their_containers_name(deployment: Deployment) -> None:
    slots = deployment.status()["slots"]
    assert {slot["host"] for slot in slots} == {"carla-server"}
    assert {slot["rpc_port"] for slot in slots} < {2000, 2004, 2008}


def test_both_tensorboards_are_published(deployment: Deployment) -> None:
    until(lambda: deployment.answers("http://127.0.0.1:6006/"))
    until(lambda: deployment.answers("http://127.0.0.1:6007/"))


def test_a_client_on_the_host_reaches_carlas_ports(deployment: Deployment) -> None:
    port = deployment.status()["slots"][0]["rpc_port"]
    ask = f"import carla; print(carla.Client('127.0.0.1', {port}).get_server_version())"
    command = deployment.engine.inside(sys.executable, "-c", ask)
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.strip() == "0.9.16"


def test_a_killed_server_is_replaced_and_the_training_goes_on(deployment: Deployment) -> None:
    victim = next(slot for slot in deployment.status()["slots"] if slot["state"] == "LEASED")
    lost = deployment.progress().get("sim_lost", 0)
    deployment.inside(SERVER, "bash", "-c", f"kill -9 {victim['pid']}")

    def replaced() -> bool:
        status = deployment.status()
        slot = status["slots"][victim["slot"]] if status else {}
        return slot.get("incarnation", 0) > victim["incarnation"] and slot["state"] == "LEASED"

    until(replaced)
    until(lambda: deployment.progress().get("sim_lost", 0) > lost)
    deployment.goes_on()


def test_a_frozen_daemon_is_restarted_and_its_servers_and_leases_go_on(deployment: Deployment) -> None:
    before = deployment.status()
    deployment.inside(SERVER, "bash", "-c", f"kill -STOP {before['daemon']['pid']}")
    until(lambda: (now := deployment.status()) and now["daemon"]["pid"] != before["daemon"]["pid"])
    after = deployment.status()
    assert [slot["pid"] for slot in after["slots"]] == [slot["pid"] for slot in before["slots"]]
    tokens = [[lease["token"] for lease in status["leases"]] for status in (before, after)]
    assert tokens[0] == tokens[1]
    deployment.goes_on()
    until(lambda: "unhealthy" not in deployment.deploy("health", check=False))


def test_a_training_that_is_stopped_saves_what_it_learned(deployment: Deployment) -> None:
    deployment.deploy("stop-training")
    state = deployment.engine.run("docker", "inspect", "--format", "{{.State.ExitCode}}", TRAINING)
    assert state.stdout.strip() == "0"
    until(lambda: all(slot["state"] == "READY" for slot in deployment.status()["slots"]))
    look = ("docker", "run", "--rm", "--entrypoint=find", "--volume=carlad_models:/m", "carlad:trainer")
    listing = deployment.engine.run(*look, "/m", "-name", "*.pt")
    assert ".pt" in listing.stdout


def test_without_carlad_the_training_takes_the_server_at_carla_host_and_port(deployment: Deployment) -> None:
    """The same image: a bare server, and a training that is told to pass carlad by."""
    deployment.deploy("down")
    run = deployment.engine.run
    run("docker", "network", "create", "bare")
    image = ("--entrypoint=python3", "carlad:standin", "-m", "carlad.standin", "--host", "0.0.0.0")
    run("docker", "run", "--detach", "--no-healthcheck", "--name=bare-server", "--network=bare", *image)
    image = ("--env=CARLA_HOST=bare-server", "--env=CARLA_PORT=2000", "carlad:trainer", "trainer", "train")
    steps = ("-o", "train.total_steps=256", "-o", "ppo.batch_steps=256", "-o", "train.eval_episodes=0")
    done = run("docker", "run", "--rm", "--network=bare", *image, "--config", "demo", *steps)
    assert "env_steps=256" in done.stdout + done.stderr
    run("docker", "rm", "--force", "--volumes", "bare-server")
    run("docker", "network", "rm", "bare")


def test_cleanup_asks_and_leaves_nothing(deployment: Deployment) -> None:
    asked = deployment.engine.run("docker/deploy.sh", "cleanup", check=False, **ENVIRON)
    assert asked.returncode == 1
    assert "nothing was removed" in asked.stdout
    deployment.deploy("cleanup", "--yes")
    for what in (("ps", "--all"), ("volume", "ls")):
        assert deployment.engine.run("docker", *what, "--quiet").stdout == ""
    assert "carlad" not in deployment.engine.run("docker", "images", "carlad").stdout.partition("\n")[2]
