"""From configuration to backend."""

from __future__ import annotations

from collections.abc import Mapping

from carlad.config import Config, FleetSection
from carlad.fleet.backends.binary import binary_advice, binary_launcher
from carlad.fleet.backends.container import Containers
from carlad.fleet.backends.docker import docker_launcher
from carlad.fleet.backends.external import External, servers_of
from carlad.fleet.backends.flags import flag_advice
from carlad.fleet.backends.interface import Backend, Launcher
from carlad.fleet.backends.local import Local
from carlad.fleet.backends.standin import standin_launcher
from carlad.fleet.ports import PortRegistry, ephemeral_advice

# What the service manager told the daemon is not for its children: they would answer in its name.
_DAEMONS_OWN = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)


def choose(
    config: Config,
    environ: Mapping[str, str],
    registry: PortRegistry,
    owner: str,
    launch: Launcher | None = None,
) -> Backend:
    """The configured backend; `launch` replaces what it would start.

    `owner` is what this daemon's servers are known by where they are not its processes. Raises ConfigError.
    """
    fleet, for_them = config.fleet, for_servers(environ)
    if launch is not None:
        return Local(launch, registry)
    if fleet.backend == "external":
        return External(servers_of(fleet.servers), config.probe)
    if fleet.backend == "docker":
        launch = docker_launcher(fleet, config.docker, owner, for_them)
        return Containers(launch, registry, owner, for_them)
    return Local(_launcher(fleet, for_them), registry)


def advice(config: FleetSection, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What of a configuration that can be used will not be as expected, each in a sentence."""
    ports = ephemeral_advice(*config.ports) if config.backend != "external" else ()
    flags = flag_advice(config) if config.backend in ("binary", "docker") else ()
    folders = binary_advice(config, for_servers(environ)) if config.backend == "binary" else ()
    return (*ports, *flags, *folders)


def for_servers(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _DAEMONS_OWN}


def _launcher(config: FleetSection, environ: dict[str, str]) -> Launcher:
    return (binary_launcher if config.backend == "binary" else standin_launcher)(config, environ)
