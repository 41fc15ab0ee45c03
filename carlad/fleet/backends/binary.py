"""CarlaUE4.sh of an installed CARLA.

The script forks CarlaUE4-Linux-Shipping and forwards no signal to it; the shim ends the whole tree. The
server answers SIGTERM with a segmentation fault (status 139), refuses to run as root (a check of Unreal's,
with no flag against it), and writes below its HOME.
"""

from __future__ import annotations

import os
from pathlib import Path

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet.backends.account import Account, account
from carlad.fleet.backends.flags import carla_flags
from carlad.fleet.backends.interface import Launch, Launcher
from carlad.fleet.ports import Ports

_SCRIPT = "CarlaUE4.sh"
_SERVER = "CarlaUE4/Binaries/Linux/CarlaUE4-Linux-Shipping"
_SAVED = "CarlaUE4/Saved"


def binary_launcher(config: FleetSection, environ: dict[str, str]) -> Launcher:
    """Raises ConfigError where CARLA could not be started."""
    root = _checked_root(config.carla_root)
    runs_as = _checked_account(config.user, environ)
    _check_access(root, runs_as)
    return lambda ports: binary(config, ports, runs_as, environ)


def binary(config: FleetSection, ports: Ports, runs_as: Account, environ: dict[str, str]) -> Launch:
    root = _root(config.carla_root)
    argv = (*runs_as.prefix, str(root / _SCRIPT), *carla_flags(config, ports))
    return Launch(argv, runs_as.environ(environ), str(root))


def binary_advice(config: FleetSection, environ: dict[str, str]) -> tuple[str, ...]:
    """What will work, but not as expected; for a configuration that `binary_launcher` accepts."""
    saved = _root(config.carla_root) / _SAVED
    runs_as = account(config.user, environ)
    if not saved.parent.is_dir() or runs_as.may("-w", saved if saved.exists() else saved.parent):
        return ()
    return (
        f"fleet.carla_root: {runs_as.name} cannot write {saved}, where CARLA keeps its logs and recordings",
    )


def _checked_root(carla_root: str) -> Path:
    if not carla_root:
        raise ConfigError(f'fleet.carla_root: backend "binary" needs the folder of {_SCRIPT}')
    root = _root(carla_root)
    if not root.is_dir():
        raise ConfigError(f"fleet.carla_root: there is no folder {root}")
    if not (root / _SCRIPT).is_file():
        raise ConfigError(f"fleet.carla_root: there is no {_SCRIPT} in {root}")
    return root


def _checked_account(user: str, environ: dict[str, str]) -> Account:
    if os.geteuid() == 0 and user in ("", "root"):
        raise ConfigError(
            "fleet.user: CARLA refuses to run as root; set fleet.user to another user, or run carlad as one"
        )
    runs_as = account(user, environ)
    if not runs_as.may("-w", Path(runs_as.home)):
        raise ConfigError(
            f"fleet.user: cannot run CARLA as {runs_as.name}: it writes below its home, and "
            f"{runs_as.home} is not writable; set HOME, or fleet.user to a user with a home"
        )
    return runs_as


def _check_access(root: Path, runs_as: Account) -> None:
    for file in (root / _SCRIPT, root / _SERVER):
        if file.exists() and not os.access(file, os.X_OK):
            raise ConfigError(f"fleet.carla_root: {file} is not executable; run: chmod +x {file}")
        if file.exists() and not runs_as.may("-x", file):
            raise ConfigError(
                f"fleet.carla_root: {runs_as.name} may not execute {file}; give it access to that folder"
            )


def _root(carla_root: str) -> Path:
    return Path(carla_root).expanduser().absolute()
