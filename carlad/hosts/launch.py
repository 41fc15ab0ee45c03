"""The command lines of env hosts. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from carlad.config import EnvSection
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


def launch(env: EnvSection, door: Door, environ: Mapping[str, str]) -> Launch:
    """An env host for that environment."""
    argv = [env.python or sys.executable, "-m", "carlad.session", "--env", env.env]
    argv += ["--endpoint", f"ipc://{door.steps}", "--name", door.name]
    argv += ["--secret-file", str(door.secret_file), "--uid", str(door.uid)]
    argv += ["--patience", f"{door.patience_s:g}"]
    if door.telemetry is not None:
        argv += ["--telemetry", f"ipc://{door.telemetry}"]
    return Launch(tuple(argv), passed_on(environ) | _python_path(env), cwd="/")


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def _python_path(env: EnvSection) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(env.path)} if env.path else {}
