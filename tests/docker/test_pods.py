"""What the manifests of docker/kubernetes say of their pods, on an engine: their variables, keys as a cluster
mounts them, probes, a training across two of them, and the drain of one.

No cluster can be had: who schedules and counts pods is not there, what runs in them is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import Images
from tests.docker.deployment import until
from tests.docker.engine import Engine
from tests.docker.tools import found, render

pytestmark = pytest.mark.system

TRAINING = "carla-rl-training"
_GROUP = 1000  # fsGroup
_UNPRIVILEGED = ("--user=1000:1000", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# Three environments do not fit one pod's two servers.
_TRAIN = "-o servers.sessions=3 -o train.total_steps=10000000 -o train.eval_episodes=0 -o ppo.batch_steps=384"


class Cluster:
    """Containers with what one overlay's manifests say."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        rendered = render(folder / "kubernetes")
        self.engine = engine
        self.servers = found("standin", rendered, "StatefulSet", "carla-server")["spec"]
        self._environment = found("standin", rendered, "ConfigMap", "carla-environment")["data"]
        self._training = found("standin", rendered, "ConfigMap", "carla-training")["data"]
        self._keys = folder / "kubernetes" / "base" / "keys"
        self._folder = folder

    @property
    def container(self) -> Any:
        """Of the servers' pods."""
        return self.servers["template"]["spec"]["containers"][0]

    def start_pod(self, ordinal: int, image: str = "carlad:standin", **variables: str) -> None:
        name = f"carla-server-{ordinal}"
        address = f"{name}.{self.servers['serviceName']}"
        secrets = next(
            v["secret"]["items"] for v in self.servers["template"]["spec"]["volumes"] if "secret" in v
        )
        keys = self._secret(name, {item["key"]: item["path"] for item in secrets})
        (advertise,) = [e["value"] for e in self.container["env"] if e["name"] == "CARLAD_ADVERTISE"]
        environ = {
            **self._environment,
            **variables,
            "CARLAD_ADVERTISE": advertise.replace("$(POD_NAME)", name),
        }
        assert environ["CARLAD_ADVERTISE"] == address
        options = [f"--network-alias={address}", f"--volume={keys}:/etc/carlad/keys:ro"]
        options += [f"--volume={name}:/var/lib/carlad", "--tmpfs=/run/carlad:size=64m,uid=1000,gid=1000"]
        self._run(name, image, environ, *options, arguments=self.container["args"])

    def start_training(self) -> None:
        keys = self.client_keys()
        environ = {**self._training, "TRAIN_CONFIG": "demo", "TRAIN_ARGS": _TRAIN}
        options = (f"--volume={keys}:/etc/carlad/client:ro", "--tmpfs=/run/carlad:size=16m,uid=1000,gid=1000")
        self._run(TRAINING, "carlad:trainer", environ, *options, arguments=["trainer"])

    def client_keys(self) -> Path:
        """As trainings mount them."""
        names = [name for name in os.listdir(self._keys) if name != "server.key_secret"]
        return self._secret("client", {name: name for name in names})

    def probe(self, ordinal: int, which: str) -> int:
        """The exit code of `startupProbe` and its like."""
        command = self.container[which]["exec"]["command"]
        return self.engine.run("docker", "exec", f"carla-server-{ordinal}", *command, check=False).returncode

    def held(self, ordinal: int) -> int:
        """How many servers of that pod are leased."""
        ask = ("docker", "exec", f"carla-server-{ordinal}", "carlactl", "status", "--json")
        done = self.engine.run(*ask, check=False)
        slots = json.loads(done.stdout)["slots"] if done.returncode == 0 else []
        return sum(slot["state"] == "LEASED" for slot in slots)

    def steps(self) -> int:
        command = ("docker", "exec", TRAINING, "sh", "-c", "tail -qn 1 data/logs/*/progress.jsonl")
        lines = self.engine.run(*command, check=False).stdout.splitlines()
        return max((json.loads(line).get("env_steps", 0) for line in lines), default=0)

    def goes_on(self) -> None:
        before = self.steps()
        until(lambda: self.steps() > before)

    def _secret(self, name: str, paths: dict[str, str]) -> Path:
        """Root's files, which their pod's group may read."""
        folder = self._folder / f"{name}-keys"
        for key, path in paths.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._keys / key, file)
            os.chown(file, 0, _GROUP)
            file.chmod(0o440)
        return folder

    def _run(
        self, name: str, image: str, environ: dict[str, str], *options: str, arguments: list[str]
    ) -> None:
        variables = [f"--env={key}={value}" for key, value in environ.items()]
        run = ("docker", "run", "--detach", f"--name={name}", f"--hostname={name}", "--network=pods")
        self.engine.run(*run, *_UNPRIVILEGED, *variables, *options, image, *arguments)


@pytest.fixture(scope="module")
def cluster(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With the pods of its servers and a training."""
    run = images.engine.run
    one = Cluster(images.engine, tmp_path_factory.mktemp("cluster"))
    pods = [f"carla-server-{ordinal}" for ordinal in range(one.servers["replicas"])]
    with ExitStack() as stack:
        run("docker", "network", "create", "pods")
        stack.callback(run, "docker", "network", "rm", "pods")
        stack.callback(run, "docker", "volume", "rm", *pods)
        stack.callback(run, "docker", "rm", "--force", "--volumes", *pods, TRAINING)
        for ordinal in range(len(pods)):
            one.start_pod(ordinal)
        one.start_training()
        yield one


def test_probes_pass_in_pods_that_serve(cluster: Cluster) -> None:
    for ordinal in range(2):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            until(lambda ordinal=ordinal, probe=probe: cluster.probe(ordinal, probe) == 0)


def test_a_training_leases_across_pods(cluster: Cluster) -> None:
    until(lambda: cluster.held(0) + cluster.held(1) == 3)
    assert cluster.held(0)
    assert cluster.held(1)
    cluster.goes_on()


def test_a_pod_that_is_drained_and_ended_costs_the_training_its_servers_alone(cluster: Cluster) -> None:
    stop = cluster.container["lifecycle"]["preStop"]["exec"]["command"]
    grace_s = cluster.servers["template"]["spec"]["terminationGracePeriodSeconds"]
    drain = ("docker", "exec", "carla-server-0", *stop[:-1], "1")  # nobody gives back before an episode's end
    assert "are still held after 1 s" in cluster.engine.run(*drain).stdout
    cluster.engine.run("docker", "stop", f"--time={grace_s}", "carla-server-0")
    code = cluster.engine.run("docker", "inspect", "--format={{.State.ExitCode}}", "carla-server-0").stdout
    assert code.strip() == "0"
    until(lambda: cluster.held(1) == 2)
    cluster.goes_on()
    assert cluster.probe(1, "readinessProbe") == 0


def test_a_pod_that_is_back_is_leased_from_again(cluster: Cluster) -> None:
    cluster.engine.run("docker", "start", "carla-server-0")
    until(lambda: cluster.held(0) == 1)
    cluster.goes_on()
