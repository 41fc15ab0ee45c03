"""From configuration to backend."""

from __future__ import annotations

from collections.abc import Mapping

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet.backends.binary import binary_advice, binary_launcher
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
    config: FleetSection,
    environ: Mapping[str, str],
    registry: PortRegistry,
    launch: Launcher | None = None,
) -> Backend:
    """The configured backend; `launch` replaces what it would start. Raises ConfigError."""
    return Local(launch or _launcher(config, for_servers(environ)), registry)


def advice(config: FleetSection, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What of a configuration that can be used will not be as expected, each in a sentence."""
    ports = ephemeral_advice(*config.ports) if config.backend != "external" else ()
    return (*ports, *(binary_advice(config, for_servers(environ)) if config.backend == "binary" else ()))


def for_servers(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _DAEMONS_OWN}


def _launcher(config: FleetSection, environ: dict[str, str]) -> Launcher:
    if config.backend == "standin":
        return standin_launcher(config, environ)
    if config.backend == "binary":
        return binary_launcher(config, environ)
    raise ConfigError(f'fleet.backend: "{config.backend}" is not supported yet; use "standin" or "binary"')
