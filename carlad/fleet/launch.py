"""How a server is started: from configuration and ports to a command line. Pure but for the checks."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet.ports import Ports

_STANDIN_PACKAGES = ("carla", "numpy", "numba", "open3d")
# What the service manager told the daemon is not for its children: they would answer in its name.
_DAEMONS_OWN = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)


class Launch(msgspec.Struct, frozen=True):
    argv: tuple[str, ...]
    environ: dict[str, str]
    cwd: str


Launcher = Callable[[Ports], Launch]


def launcher(config: FleetSection, environ: Mapping[str, str]) -> Launcher:
    """What starts servers of the configured backend. Raises ConfigError where that cannot work."""
    for_servers = {name: value for name, value in environ.items() if name not in _DAEMONS_OWN}
    if config.backend == "standin":
        _check_standin()
        return lambda ports: standin(config, ports, for_servers)
    if config.backend == "binary":
        _check_binary(config.carla_root, os.geteuid())
        return lambda ports: binary(config, ports, for_servers)
    raise ConfigError(f'fleet.backend: "{config.backend}" is not supported yet; use "standin" or "binary"')


def standin(config: FleetSection, ports: Ports, environ: dict[str, str]) -> Launch:
    """The bundled server. It listens beyond loopback only where `advertise_host` says that others come."""
    host = "127.0.0.1" if _is_loopback(config.advertise_host) else "0.0.0.0"
    argv = (
        sys.executable,
        "-m",
        "carlad.standin",
        "--host",
        host,
        *_flags(config, ports),
        *config.extra_args,
    )
    return Launch(argv, environ, "/")


def binary(config: FleetSection, ports: Ports, environ: dict[str, str]) -> Launch:
    """CARLA's own script. It forks the real server and forwards no signals; the shim ends both."""
    argv = (str(_script(config.carla_root)), *_flags(config, ports), *config.extra_args)
    return Launch(argv, environ, str(_script(config.carla_root).parent))


def _flags(config: FleetSection, ports: Ports) -> tuple[str, ...]:
    width, _, height = config.resolution.partition("x")
    return (
        "-RenderOffScreen",
        "-nosound",
        f"-quality-level={config.quality}",
        f"-ResX={width}",
        f"-ResY={height}",
        f"-carla-rpc-port={ports.rpc}",
        f"-carla-streaming-port={ports.streaming}",
    )


def _check_standin() -> None:
    missing = [name for name in _STANDIN_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"cannot run the stand-in server: {', '.join(missing)} not installed; install carlad[standin], "
            'or set fleet.carla_root to your CARLA and fleet.backend = "binary"'
        )


def _check_binary(carla_root: str, euid: int) -> None:
    if not carla_root:
        raise ConfigError('fleet.carla_root: backend "binary" needs the folder of CarlaUE4.sh')
    script = _script(carla_root)
    if not script.is_file():
        raise ConfigError(f"fleet.carla_root: there is no {script}")
    if not os.access(script, os.X_OK):
        raise ConfigError(f"fleet.carla_root: {script} is not executable; run chmod +x on it")
    if euid == 0:
        raise ConfigError("CARLA refuses to run as root: run carlad as another user")


def _script(carla_root: str) -> Path:
    return Path(carla_root).expanduser().absolute() / "CarlaUE4.sh"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
