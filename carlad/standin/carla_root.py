"""A directory that other people's launchers take for a CARLA installation, with the stand-in in it.

The script and the binary are as in CARLA: `CarlaUE4.sh` waits for `CarlaUE4-Linux-Shipping`, forwards no
signals, and hands on its arguments.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from carlad.standin.flags import PROJECT
from carlad.standin.towns import files
from carlad.wire import CARLA_VERSION

BINARY = "CarlaUE4-Linux-Shipping"
MAP = "Town10HD_Opt"  # with which CARLA 0.9.16 starts
_MARK = "# Written by carlad.standin --make-carla-root."

_SCRIPT = f"""#!/bin/sh
{_MARK}
root=$(dirname "$(readlink -f "$0")")
"$root/CarlaUE4/Binaries/Linux/{BINARY}" {PROJECT} "$@"
"""
_BINARY = f"""#!/bin/sh
{_MARK}
export PYTHONSAFEPATH=1  # whatever lies in the launcher's directory is not imported
exec {{command}} "$@"
"""
_PYTHON_API = f"""The client of this server is the official one: pip install carla=={CARLA_VERSION}
CARLA's agents and examples come with CARLA (PythonAPI/ there) and work with this server unchanged.
"""


class NotEmptyError(Exception):
    """Something else lies where the directory is to be."""


def make(directory: Path, options: Sequence[str], maps: Sequence[Path]) -> Path:
    """Write the directory; returns its CarlaUE4.sh. `options` are given to every server that it starts.

    Writes over what an earlier call has written. Raises NotEmptyError, OSError.
    """
    script = directory / "CarlaUE4.sh"
    if directory.exists() and not _is_ours(script) and any(directory.iterdir()):
        raise NotEmptyError(
            f"cannot make a CARLA root in {directory}: it is not empty; name another directory"
        )
    command = [sys.executable, "-m", "carlad.standin", f"--process-name={BINARY}", f"--map={MAP}", *options]
    project = directory / "CarlaUE4"
    opendrive = project / "Content" / "Carla" / "Maps" / "OpenDrive"
    opendrive.mkdir(parents=True, exist_ok=True)
    for name, path in files.originals(maps).items():
        shutil.copyfile(path, opendrive / f"{name}.xodr")
    _write(project / "Binaries" / "Linux" / BINARY, _BINARY.format(command=shlex.join(command)), 0o755)
    _write(directory / "PythonAPI" / "README.md", _PYTHON_API)
    _write(directory / "PythonAPI" / "carla" / "requirements.txt", f"carla=={CARLA_VERSION}\n")
    (directory / "PythonAPI" / "carla" / "dist").mkdir(exist_ok=True)
    _write(directory / "VERSION", f"{CARLA_VERSION}\n")
    _write(script, _SCRIPT, 0o755)
    return script


def _is_ours(script: Path) -> bool:
    return script.is_file() and _MARK in script.read_text(errors="replace")


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
