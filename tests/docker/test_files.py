"""What is checked of docker/ without an engine: linters, compose's own reading, manifests by their schema."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from carlad.image.simulator import simulator
from tests.docker.tools import BIN, DOCKER, OVERLAYS, ROOT, found, render, run, tool

VERBS = (
    *("up", "down", "restart", "status", "health", "start-carla", "stop-carla", "restart-carla"),
    *("start-training", "stop-training", "logs", "logs-carla", "logs-tensorboard", "logs-all"),
    *("shell", "shell-carla", "build", "cleanup", "help"),
)


def test_the_dockerfile_is_clean() -> None:
    done = run(tool("hadolint"), "--config", ROOT / ".hadolint.yaml", DOCKER / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_scripts_are_clean() -> None:
    scripts = [*DOCKER.rglob("*.sh"), *(ROOT / ".ci").glob("*.sh"), ROOT / ".ci" / "run"]
    assert len(scripts) >= 4
    done = run(tool("shellcheck"), *scripts)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("profile", ["standin", "gpu", "cpu", "viz"])
def test_compose_understands_its_file(profile: str) -> None:
    done = run(
        tool("docker-compose"), "-f", DOCKER / "compose.yaml", "config", "-q", COMPOSE_PROFILES=profile
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("profile", "server", "simulator"),
    [
        ("standin", "carla-server-standin", "standin"),
        ("gpu", "carla-server", "carla"),
        ("cpu", "carla-server-cpu", "carla"),
    ],
)
def test_each_profile_has_one_server_and_the_services_that_people_know(
    profile: str, server: str, simulator: str
) -> None:
    services = composed(profile)["services"]
    assert sorted(services) == sorted([server, "carla-rl-training", "tensorboard"])
    assert services[server]["build"]["args"]["SIMULATOR"] == simulator
    assert "carla-server" in services[server]["networks"]["default"]["aliases"]
    assert services["carla-rl-training"]["environment"]["CARLA_HOST"] == "carla-server"
    assert services["carla-rl-training"]["depends_on"][server]["condition"] == "service_healthy"
    assert ("deploy" in services[server]) == (profile == "gpu")


def test_only_loopback_reaches_published_ports_unless_it_is_told() -> None:
    for service in composed("standin")["services"].values():
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}


def test_carla_without_a_gpu_renders_nothing() -> None:
    environ = composed("cpu", CARLA_ARGS="-benchmark")["services"]["carla-server-cpu"]["environment"]
    found = simulator(environ)
    assert (found.rendering, found.extra_args) == ("none", ("-benchmark",))


def composed(profile: str, **environ: str) -> Any:
    """The file as compose reads it."""
    done = run(
        tool("docker-compose"), "-f", DOCKER / "compose.yaml", "config", COMPOSE_PROFILES=profile, **environ
    )
    return yaml.safe_load(done.stdout)


def test_deploy_explains_every_verb_and_refuses_others() -> None:
    shown = run(DOCKER / "deploy.sh", "help")
    assert shown.returncode == 0
    assert [
        verb for verb in VERBS if f" {verb} " not in shown.stdout and f" {verb}\n" not in shown.stdout
    ] == []
    bad = run(DOCKER / "deploy.sh", "upp", PATH=f"{BIN}:{os.environ['PATH']}")
    assert bad.returncode == 2
    assert 'there is no command "upp"' in bad.stderr or "cannot find docker" in bad.stderr


# --- Kubernetes


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return render(tmp_path_factory.mktemp("kubernetes") / "kubernetes")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_fit_the_schema_strictly(overlay: str, rendered: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "manifests.yaml").write_text(rendered[overlay])
    done = run(tool("kubernetes-validate"), "--strict", "--quiet", tmp_path / "manifests.yaml")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_limited_unprivileged_and_watched(overlay: str, rendered: dict[str, str]) -> None:
    pods = [
        document["spec"]["template"]["spec"]
        for document in yaml.safe_load_all(rendered[overlay])
        if document["kind"] in ("StatefulSet", "Deployment", "Job")
    ]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
            assert container.keys() >= {"startupProbe", "readinessProbe"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pods_grace_covers_its_drain(overlay: str, rendered: dict[str, str]) -> None:
    pod = found(overlay, rendered, "StatefulSet", "carla-server")["spec"]["template"]["spec"]
    environ = found(overlay, rendered, "ConfigMap", "carla-environment")["data"]
    drain_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] >= drain_s + int(environ["CARLAD_DRAIN_S"]) + 30


def test_trainings_lease_at_every_pod_of_the_servers(rendered: dict[str, str]) -> None:
    servers = found("standin", rendered, "StatefulSet", "carla-server")["spec"]
    training = found("standin", rendered, "ConfigMap", "carla-training")["data"]
    service = servers["serviceName"]
    assert training["CARLA_HOST"].split(",") == [
        f"carla-server-{ordinal}.{service}" for ordinal in range(servers["replicas"])
    ]


def test_cards_are_asked_for_in_one_overlay_alone(rendered: dict[str, str]) -> None:
    servers = {overlay: found(overlay, rendered, "StatefulSet", "carla-server") for overlay in OVERLAYS}
    limits = {
        overlay: server["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        for overlay, server in servers.items()
    }
    assert "nvidia.com/gpu" not in limits["standin"]
    assert limits["gpu"]["nvidia.com/gpu"] == "1"


def test_keys_are_not_made_twice(tmp_path: Path) -> None:
    folder = tmp_path / "kubernetes"
    shutil.copytree(DOCKER / "kubernetes", folder, ignore=shutil.ignore_patterns("keys", "keys.*.*"))
    (folder / "base" / "keys").mkdir()
    again = run(folder / "keys.sh", CARLACTL=f"{sys.executable} -m carlad.cli")
    assert again.returncode == 1
    assert "cannot make keys: there are some" in again.stderr
