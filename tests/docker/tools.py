"""The programs that docker/ is checked with, and what they make of its manifests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
BIN = Path(sys.executable).parent
OVERLAYS = ("standin", "gpu")


def tool(name: str) -> str:
    """Where it is. In CI it has to be there."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"{name} is not installed: pip install -e '.[dev]'"
        )
    return found


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, capture_output=True, env={**os.environ, **environ}, check=False)


def render(folder: Path) -> dict[str, str]:
    """Each overlay's manifests, with keys that are made for it in `folder`/base/keys."""
    shutil.copytree(DOCKER / "kubernetes", folder, ignore=shutil.ignore_patterns("keys", "keys.*.*"))
    made = run(folder / "keys.sh", CARLACTL=f"{sys.executable} -m carlad.cli")
    assert made.returncode == 0, made.stderr
    kubectl = tool("kubectl")
    return {name: run(kubectl, "kustomize", folder / "overlays" / name).stdout for name in OVERLAYS}


def found(overlay: str, rendered: dict[str, str], kind: str, name: str) -> Any:
    """The one object of that kind whose name begins so."""
    documents = yaml.safe_load_all(rendered[overlay])
    (one,) = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name)]
    assert kind == "Namespace" or one["metadata"]["namespace"] == "carla"
    return one
