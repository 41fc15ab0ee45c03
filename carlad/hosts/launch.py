"""The command lines of env hosts. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from carlad.config import EnvSection
from carlad.endpoints import at_this_host
from carlad.fleet.backends.interface import Launch

# What an env host gets of the daemon's environment: nothing that could be a secret.
_PASSED_ON = frozenset(
    {
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TMPDIR",
        "TZ",
        "USER",
    }
)
_PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "NUMBA_")


class Abroad(msgspec.Struct, frozen=True):
    """What other machines reach of a session, whichever env host serves it: `port` of each of this machine's
    `addresses` for its holder's steps, and the next one for viewers."""

    addresses: tuple[str, ...]
    port: int
    keys_dir: str
    server_key: str
    user: str | None
    """Who steps from there; None: the holder is on this machine."""

    @property
    def steps(self) -> str:
        """The endpoint, as `messages.SessionOpened` writes it."""
        return at_this_host(self.port, self.server_key)

    @property
    def telemetry(self) -> str:
        return at_this_host(self.port + 1, self.server_key)


class Door(msgspec.Struct, frozen=True):
    """Where an env host listens, whom it obeys, and for how long it waits for them.

    `telemetry` None: it shows nothing.
    """

    steps: Path
    telemetry: Path | None
    name: str
    secret_file: Path
    uid: int
    patience_s: float
    abroad: Abroad | None = None


def launch(env: EnvSection, door: Door, environ: Mapping[str, str]) -> Launch:
    """An env host for that environment."""
    argv = [env.python or sys.executable, "-m", "carlad.session", "--env", env.env]
    argv += ["--endpoint", f"ipc://{door.steps}", "--name", door.name]
    argv += ["--secret-file", str(door.secret_file), "--uid", str(door.uid)]
    argv += ["--patience", f"{door.patience_s:g}"]
    if door.telemetry is not None:
        argv += ["--telemetry", f"ipc://{door.telemetry}"]
    if door.abroad is not None:
        argv += _for_other_machines(door.abroad)
    return Launch(tuple(argv), passed_on(environ) | _python_path(env, environ), cwd="/")


def _for_other_machines(abroad: Abroad) -> list[str]:
    argv = ["--keys-dir", abroad.keys_dir]
    for address in abroad.addresses:
        argv += ["--viewers", f"tcp://{address}:{abroad.port + 1}"]
    if abroad.user is not None:
        argv += ["--client", abroad.user]
        for address in abroad.addresses:
            argv += ["--clients", f"tcp://{address}:{abroad.port}"]
    return argv


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def _python_path(env: EnvSection, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment's folders, and behind them those in which the daemon's own interpreter finds carlad."""
    folders = list(env.path)
    if not env.python and (own := environ.get("PYTHONPATH")):
        folders += [os.path.abspath(folder) for folder in own.split(os.pathsep) if folder]
    return {"PYTHONPATH": os.pathsep.join(folders)} if folders else {}
