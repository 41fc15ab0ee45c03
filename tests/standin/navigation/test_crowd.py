"""The official client's crowd on our meshes: where its walkers go, and that they do so again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from carlad.standin.navigation.check import checked
from tests.standin.navigation.crowd import Plan, run
from tests.standin.navigation.maps import CROSSWALK, ROAD, SIDEWALK, Ground
from tests.standin.process import standin_process

pytestmark = pytest.mark.system  # thousands of ticks

WALKERS = 30


def walk(folder: Path, town: str, plan: Plan) -> tuple[dict[str, Any], Ground]:
    """What a crowd did in a town, and the mesh that its client was given."""
    with standin_process("--map", town) as server:
        seen = run(server.rpc_port, folder, plan)
    (file,) = (folder / "carlaCache").rglob(f"Nav/{town}-*.bin")
    return seen, Ground(checked(file.read_bytes()))


def shares(places: list[list[float]], ground: Ground) -> Counter[int]:
    return Counter(ground.area_at(*place) for place in places)


@pytest.mark.parametrize("town", ["Town01", "Town02", "Town03"])
def test_walkers_keep_to_pavements_and_crosswalks(town: str, tmp_path: Path) -> None:
    """2000 ticks of 0.1 s; Town03 has curves and slopes."""
    seen, ground = walk(tmp_path, town, Plan(WALKERS, ticks=2000))
    assert shares(seen["places"], ground) == {SIDEWALK: len(seen["places"])}
    areas = shares(seen["samples"], ground)
    assert areas[0] == areas[ROAD] == 0
    assert areas[SIDEWALK] > 0.75 * sum(areas.values())
    assert areas[CROSSWALK] > 0.02 * sum(areas.values())
    assert min(seen["walked_m"]) > 60.0
    assert seen["fastest_mps"] < 4.0
    assert seen["velocity_error_mps"] < 0.05
    assert seen["reached"] >= (WALKERS // 2 if town != "Town03" else 5)
    assert seen["overlap_refused"]


def test_same_seed_walks_the_same_way_on_a_fresh_server(tmp_path: Path) -> None:
    plan = Plan(12, ticks=500, seed=11, cross_factor=0.3)
    one, _ = walk(tmp_path, "Town02", plan)
    other, _ = walk(tmp_path, "Town02", plan)
    assert one == other


def test_walkers_wait_while_vehicles_have_green(tmp_path: Path) -> None:
    red, _ = walk(tmp_path / "red", "Town02", Plan(12, ticks=500, lights="Red"))
    green, _ = walk(tmp_path / "green", "Town02", Plan(12, ticks=500, lights="Green"))
    assert red["stood_share"] < 0.05
    assert green["stood_share"] > 0.15


def test_bold_walkers_cross_roads(tmp_path: Path) -> None:
    seen, ground = walk(tmp_path, "Town02", Plan(15, ticks=700, cross_factor=1.0))
    areas = shares(seen["samples"], ground)
    assert areas[0] == 0
    assert areas[ROAD] > 0
