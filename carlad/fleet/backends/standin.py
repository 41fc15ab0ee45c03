"""The bundled server, `python -m carlad.standin`: the default, which needs nothing."""

from __future__ import annotations

import importlib.util
import sys

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet.backends.account import Account, account
from carlad.fleet.backends.flags import carla_flags, listens_on
from carlad.fleet.backends.interface import Launch, Launcher
from carlad.fleet.ports import Ports

_PACKAGES = ("carla", "numpy", "numba", "open3d")


def standin_launcher(config: FleetSection, environ: dict[str, str]) -> Launcher:
    """Raises ConfigError where packages are missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"cannot run the stand-in server: {', '.join(missing)} not installed; install carlad[standin], "
            'or set fleet.carla_root to your CARLA and fleet.backend = "binary"'
        )
    runs_as = account(config.user, environ)
    return lambda ports: standin(config, ports, runs_as, environ)


def standin(config: FleetSection, ports: Ports, runs_as: Account, environ: dict[str, str]) -> Launch:
    """It listens beyond loopback only where `advertise_host` says that others come."""
    command = (sys.executable, "-m", "carlad.standin", "--host", listens_on(config.advertise_host))
    return Launch((*runs_as.prefix, *command, *carla_flags(config, ports)), runs_as.environ(environ), cwd="/")
