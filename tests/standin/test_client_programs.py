"""What can abort the user's process, run in processes of its own and judged by exit code and output."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.ports import free_port
from tests.standin.process import StandIn, standin_process

TIMEOUT_S = 120.0


def run(name: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.standin.scripts.{name}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{name} ended with {done.returncode}: {done.stderr[-2000:]}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_traffic_manager_keeps_to_the_lanes_and_to_the_lights(server: StandIn) -> None:
    result = run("traffic", server.rpc_port, free_port(), 6, 900)
    assert result["offset_max_m"] < 0.5
    assert min(result["metres"]) > 50.0
    assert max(result["roads"]) >= 3
    assert result["waited_at_red"] > 0
    assert result["registered"] == [True, False]  # also where there is no route


def test_traffic_manager_survives_actors_that_come_and_go(server: StandIn) -> None:
    assert run("churn", server.rpc_port, free_port(), 3.0)["spawned"] > 50


def test_a_map_is_loaded_while_a_traffic_manager_runs_freely() -> None:
    with standin_process() as server:
        result = run("loads", server.rpc_port, free_port(), 4)
    assert result["towns"] == ["Town01", "Town02"] * 2


def test_episodes_change_while_sensors_come_and_go() -> None:
    with standin_process() as server:
        result = run("episodes", server.rpc_port, 8)
    episodes = result["episodes"]
    assert [episode["map"][-6:] for episode in episodes] == ["Town01", "Town02"] * 4 + ["Town02"]
    ids = [episode["id"] for episode in episodes]
    assert sorted(set(ids)) == ids
    # load_world resets the settings, reload_world(False) keeps them.
    assert [episode["synchronous"] for episode in episodes] == [False] * 8 + [True]
    assert result["ticked_after_reload"]
    assert result["lights"] > 0
    assert result["drawn"] == "Carla/Maps/OpenDriveMap"
    assert result["vehicles_left"] == 0
