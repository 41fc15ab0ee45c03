"""The stand-in profile on a real engine: built, brought up, trained in, servers killed, the daemon frozen.

One engine and one set of containers for all, in the order of the tests, because both take minutes to make.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.docker.conftest import Images
from tests.docker.deployment import TRAINING, Deployment, until

pytestmark = pytest.mark.system

ENVIRON = {
    "COMPOSE_PROFILES": "standin",
    "CARLAD_SERVERS": "2",
    "CARLAD_SPARES": "0",
    "CARLA_ARGS": "-carla-server -world-port=2000",
    "TRAIN_CONFIG": "demo",
    "TRAIN_RUN": "first",
    "TRAIN_ARGS": "-o train.total_steps=10000000 -o train.eval_episodes=0 -o ppo.learning_rate=1e-4",
    "CARLA_CPUS": "2",
    "TRAINER_CPUS": "2",
}


@pytest.fixture(scope="module")
def deployment(images: Images) -> Deployment:
    return Deployment(images.engine, "carla-server-standin", ENVIRON)


def test_the_profile_comes_up_healthy_and_trains(deployment: Deployment) -> None:
    deployment.deploy("up")
    assert "healthy" in deployment.deploy("health")
    assert "LEASED" in deployment.deploy("status")
    until(lambda: deployment.steps() > 0)


def test_nothing_in_it_is_root(deployment: Deployment) -> None:
    for container in (deployment.server, TRAINING, "carlad-tensorboard-1"):
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
    deployment.inside(deployment.server, "bash", "-c", f"kill -9 {victim['pid']}")

    def replaced() -> bool:
        status = deployment.status()
        slot = status["slots"][victim["slot"]] if status else {}
        return slot.get("incarnation", 0) > victim["incarnation"] and slot["state"] == "LEASED"

    until(replaced)
    until(lambda: deployment.progress().get("sim_lost", 0) > lost)
    deployment.goes_on()


def test_a_frozen_daemon_is_restarted_and_its_servers_and_leases_go_on(deployment: Deployment) -> None:
    before = deployment.status()
    deployment.inside(deployment.server, "bash", "-c", f"kill -STOP {before['daemon']['pid']}")
    until(lambda: (now := deployment.status()) and now["daemon"]["pid"] != before["daemon"]["pid"])
    after = deployment.status()
    assert [slot["pid"] for slot in after["slots"]] == [slot["pid"] for slot in before["slots"]]
    tokens = [[lease["token"] for lease in status["leases"]] for status in (before, after)]
    assert tokens[0] == tokens[1]
    deployment.goes_on()
    until(lambda: "unhealthy" not in deployment.deploy("health", check=False))


def test_each_log_can_be_read(deployment: Deployment) -> None:
    assert "env_steps=" in deployment.deploy("logs")
    assert "daemon.started" in deployment.deploy("logs-carla")
    assert "TensorBoard" in deployment.deploy("logs-tensorboard")
    every = deployment.deploy("logs-all", "--tail", "1000")
    assert all(service in every for service in ("carla-server", "carla-rl-training-1", "tensorboard-1"))
    assert len(deployment.deploy("logs", "--tail", "2", "--no-log-prefix").splitlines()) == 2


def test_shells_are_in_the_containers_that_they_are_named_after(deployment: Deployment) -> None:
    assert "trainer" in deployment.deploy("shell", "-c", "python3 -m trainer --help")
    assert deployment.deploy("shell-carla", "-c", "echo $CARLAD_ADVERTISE").strip() == "carla-server"
    assert json.loads(deployment.deploy("carlactl", "status", "--json"))["slots"]


def test_a_viewer_in_its_own_container_sees_the_training(deployment: Deployment) -> None:
    deployment.deploy("viz", "--run", "data/runs/first", "--snapshot", "data/now.png", "--size", "800x600")
    script = "import struct; print(*struct.unpack('>II', open('data/now.png', 'rb').read(24)[16:]))"
    assert deployment.inside(TRAINING, "python3", "-c", script).split() == ["800", "600"]


def test_a_training_that_is_stopped_saves_what_it_learned_and_goes_on_from_there(
    deployment: Deployment,
) -> None:
    steps = deployment.steps()
    deployment.deploy("stop-training")
    assert deployment.state(TRAINING, ".State.ExitCode") == "0"
    until(lambda: all(slot["state"] == "READY" for slot in deployment.status()["slots"]))
    deployment.deploy("start-training")
    until(lambda: "LEASED" in deployment.deploy("status"))
    deployment.goes_on()
    assert deployment.steps() > steps
    script = "cat data/runs/first/progress.jsonl"
    lines = [json.loads(line) for line in deployment.inside(TRAINING, "sh", "-c", script).splitlines()]
    counts = [line["env_steps"] for line in lines if "env_steps" in line]
    assert counts == sorted(set(counts)), "it began anew"


def test_servers_are_stopped_started_and_restarted_alone(deployment: Deployment) -> None:
    training = deployment.state(TRAINING, ".State.StartedAt")
    tokens = [max(lease["token"] for lease in deployment.status()["leases"])]
    deployment.deploy("stop-carla")
    assert deployment.state(deployment.server, ".State.ExitCode") == "0"
    assert "unhealthy" not in deployment.deploy("start-carla")
    for verb in ("start-carla", "restart-carla"):
        deployment.deploy(verb)
        assert deployment.state(deployment.server, ".State.Health.Status") == "healthy"
        until(lambda: deployment.status()["leases"])
        tokens.append(max(lease["token"] for lease in deployment.status()["leases"]))
        deployment.goes_on()
    assert tokens == sorted(set(tokens)), "fencing tokens only grow"
    assert deployment.state(TRAINING, ".State.StartedAt") == training


def test_all_is_restarted(deployment: Deployment) -> None:
    before = {name: deployment.state(name, ".Id") for name in (deployment.server, TRAINING)}
    deployment.deploy("restart")
    assert {name: deployment.state(name, ".Id") for name in before}.items().isdisjoint(before.items())
    deployment.goes_on()


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


def test_a_training_can_start_servers_in_its_own_container(deployment: Deployment) -> None:
    run = deployment.engine.run
    environ = ("--env=START_CARLA_SERVER=true", "--env=CARLA_HOST=nowhere", "--env=CARLAD_SERVERS=2")
    steps = ("-o", "train.total_steps=256", "-o", "ppo.batch_steps=256", "-o", "train.eval_episodes=0")
    training = ("carlad:trainer", "trainer", "train", "--config", "demo", *steps)
    done = run("docker", "run", "--rm", "--network=none", *environ, *training)
    assert "env_steps=256" in done.stdout + done.stderr


def test_a_window_that_no_screen_is_there_for_is_refused(deployment: Deployment) -> None:
    container = ("--rm", "--network=none", "--env=CARLA_HEADLESS=false", "carlad:standin")
    done = deployment.engine.run("docker", "run", *container, check=False)
    assert done.returncode == 2
    assert "DISPLAY names no screen" in done.stderr


def test_cleanup_asks_and_leaves_nothing(deployment: Deployment) -> None:
    asked = deployment.engine.run("docker/deploy.sh", "cleanup", check=False, **ENVIRON)
    assert asked.returncode == 1
    assert "nothing was removed" in asked.stdout
    deployment.deploy("cleanup", "--yes")
    for what in (("ps", "--all"), ("volume", "ls")):
        assert deployment.engine.run("docker", *what, "--quiet").stdout == ""
    assert "carlad" not in deployment.engine.run("docker", "images", "carlad").stdout.partition("\n")[2]
