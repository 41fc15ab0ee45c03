"""`carlasim/carla` images through the docker command line: what is said to it. Pure but for the checks.

A container is named after its RPC port, which is nobody else's on this machine, and labelled with the
daemon's own folder, so that whoever clears up knows what is whose.
"""

from __future__ import annotations

import shutil
import subprocess

from carlad.config import DockerSection, FleetSection
from carlad.errors import ConfigError
from carlad.fleet.backends.flags import carla_flags, listens_on
from carlad.fleet.backends.interface import Launch, Launcher
from carlad.fleet.ports import Ports

LABEL = "io.carlad.runs"
_ANSWERS_MAX_S = 20.0


def docker_launcher(
    config: FleetSection, docker: DockerSection, owner: str, environ: dict[str, str]
) -> Launcher:
    """`owner`: what the containers are labelled with. Raises ConfigError."""
    if config.user:
        raise ConfigError("fleet.user: a container has a user of its own; leave it empty with docker")
    host = environ.get("DOCKER_HOST", "unix:")
    if not host.startswith("unix:"):
        raise ConfigError(
            f"DOCKER_HOST: {host} may be another machine, whose processes carlad cannot watch; "
            "run carlad there, with a unix:// socket"
        )
    _check_engine(docker.image, environ)
    return lambda ports: docker_run(config, docker, owner, ports, environ)


def docker_run(
    config: FleetSection, docker: DockerSection, owner: str, ports: Ports, environ: dict[str, str]
) -> Launch:
    """The container lives and dies with this process, unless that is killed: see container.py.

    CarlaUE4.sh does not end at SIGTERM as process 1, and forwards none: `--init` ends it with all others.
    """
    argv = (
        "docker", "run", "--rm", "--init", "--pull=never",
        f"--name={container_name(ports)}",
        f"--label={LABEL}={owner}",
        "--log-driver=none",  # the shim has the output
        "--ulimit=core=0",
        *_network(config, docker, ports),
        *((f"--gpus={docker.gpus}",) if docker.gpus else ()),
        "--env=NVIDIA_DRIVER_CAPABILITIES=all",
        *docker.run_args,
        docker.image,
        *docker.command,
        *carla_flags(config, ports),
    )  # fmt: skip
    return Launch((_docker(environ), *argv[1:]), environ, "/")


def container_name(ports: Ports) -> str:
    return f"carlad-{ports.rpc}"


def _network(config: FleetSection, docker: DockerSection, ports: Ports) -> tuple[str, ...]:
    if docker.network == "host":
        return ("--network=host",)
    block = f"{ports.rpc}-{ports.secondary}"
    return (f"--publish={listens_on(config.advertise_host)}:{block}:{block}",)


def _docker(environ: dict[str, str]) -> str:
    found = shutil.which("docker", path=environ.get("PATH"))
    if found is None:
        raise ConfigError('fleet.backend: "docker" needs the docker command, which is not in PATH')
    return found


def _check_engine(image: str, environ: dict[str, str]) -> None:
    answered, said = _ask(environ, "version", "--format={{.Server.Version}}")
    if not answered:
        raise ConfigError(
            f'fleet.backend: "docker" cannot reach the engine: {said}; start it, '
            "or let this user use it (group docker)"
        )
    answered, _said = _ask(environ, "image", "inspect", "--format={{.Id}}", image)
    if not answered:
        raise ConfigError(f"docker.image: {image} is not on this machine; run: docker pull {image}")


def _ask(environ: dict[str, str], *arguments: str) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            [_docker(environ), *arguments],
            env=environ,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWERS_MAX_S,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {_ANSWERS_MAX_S:g} s"
    return done.returncode == 0, " ".join(done.stdout.split())
