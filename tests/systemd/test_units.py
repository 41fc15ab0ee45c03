"""The units as they are installed, by systemd's own analysis."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from carlad.cli import carlactl
from carlad.deployment import PLACES, UNITS

_EXPOSURE_MAX = 3.5

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed; .ci/packages.sh does that",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system's root with the units."""
    root = tmp_path_factory.mktemp("root")
    assert carlactl(["install", "--systemd", "--root", str(root)]) == 0
    return root


def test_systemd_understands_every_line(installed: Path) -> None:
    units = [installed / PLACES[unit] for unit in UNITS]
    names = [str(unit).replace("@.", "@first.") for unit in units]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_little_is_exposed(installed: Path, unit: str) -> None:
    analyse = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(installed / PLACES[unit])]
    done = subprocess.run(analyse, capture_output=True, text=True, timeout=60, check=True)
    overall = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert overall is not None, done.stdout
    print(f"{unit}: {overall[1]}")
    assert float(overall[1]) <= _EXPOSURE_MAX, done.stdout
