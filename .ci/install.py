"""Fill .venv with everything pinned: `make install`. Standard library only.

torch comes first: where there is no GPU its CPU build is taken, which saves several gigabytes. Then
the extras `all` and `dev`, what the stand-in compiles and builds, then the system libraries that open3d
needs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
CONSTRAINTS = "constraints.txt"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
OPEN3D_LIBRARIES = ["libusb-1.0-0", "libx11-6", "libgl1", "libgomp1", "libegl1"]


def main() -> int:
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        return _fail("carla 0.9.16 has wheels for Python 3.10 to 3.12 only: make PYTHON=python3.12 ...")
    if not _installed("torch"):
        _install_torch()
    _run([*PIP, "install", "--quiet", "-c", CONSTRAINTS, "-e", ".[all,dev]"])
    _run([sys.executable, "-m", "carlad.standin.compile"])
    return _open3d_libraries()


def _install_torch() -> None:
    """The CPU build where there is no GPU and the plain package would bring CUDA along."""
    plain = _plain_torch()
    is_cuda = any(re.match(r"(nvidia|cuda)-", need) for need in plain.get("requires_dist", []))
    install = [*PIP, "install", "-c", CONSTRAINTS]
    if is_cuda and not _has_gpu():
        try:
            return _run([*install, f"torch=={plain['version']}+cpu", "--extra-index-url", CPU_BUILDS])
        except subprocess.CalledProcessError:
            print("install: the CPU build of torch cannot be had, taking the larger one", file=sys.stderr)
    return _run([*install, "torch"])


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _plain_torch() -> dict[str, Any]:
    """The metadata of what `pip install torch` would bring: with a CUDA build come its libraries."""
    command = [*PIP, "install", "--quiet", "--dry-run", "--no-deps", "--ignore-installed"]
    report = subprocess.run(
        [*command, "--report", "-", "-c", CONSTRAINTS, "torch"], check=True, capture_output=True, text=True
    ).stdout
    (torch,) = json.loads(report)["install"]
    metadata: dict[str, Any] = torch["metadata"]
    return metadata


def _open3d_libraries() -> int:
    """open3d's wheel links to a few system libraries that a bare machine lacks."""
    problem = _import_problem("open3d")
    if problem is None:
        return 0
    command = ["apt-get", "install", "-y", "--no-install-recommends", *OPEN3D_LIBRARIES]
    privilege = _privilege()
    if privilege is None or shutil.which("apt-get") is None:
        return _fail(f"open3d cannot be imported ({problem}). This cures it: sudo {' '.join(command)}")
    _run([*privilege, "apt-get", "update", "-q"])
    _run([*privilege, *command])
    problem = _import_problem("open3d")
    return 0 if problem is None else _fail(f"open3d still cannot be imported: {problem}")


def _privilege() -> list[str] | None:
    """What to put before apt-get, or None where it may not be called without asking."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def _import_problem(module: str) -> str | None:
    result = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    return None if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


def _installed(package: str) -> bool:
    return subprocess.run([*PIP, "show", "--quiet", package], capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True)


def _fail(message: str) -> int:
    print(f"install: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        sys.exit(_fail(f"{' '.join(failure.cmd)} exited with {failure.returncode}; its output says why"))
