"""The official client's Traffic Manager drives in the larger towns."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.ports import free_port
from tests.standin.process import standin_process

pytestmark = pytest.mark.system  # thousands of ticks

SECONDS = 60
DRIVE = [sys.executable, "-m", "tests.standin.scripts.town_drive"]


@pytest.mark.parametrize("town", ["Town03", "Town04"])
def test_traffic_keeps_its_lane_on_bends_ramps_slopes_and_bridges(town: str) -> None:
    with standin_process() as server:
        command = [*DRIVE, str(server.rpc_port), str(free_port()), town, str(SECONDS)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    seen = json.loads(done.stdout)
    assert seen["vehicles"] == seen["alive"] == 30
    assert seen["aside"] < 0.5
    assert seen["above"] < 0.15
    assert seen["way"][3] > 100.0  # at most a few wait at red lights for most of the time
