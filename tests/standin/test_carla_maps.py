"""CARLA's own towns, where the machine has them: they are not ours to ship."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import carla
import pytest

from carlad.standin import navigation, towns
from carlad.standin.navigation.check import checked
from carlad.standin.towns import Town
from tests.ports import free_port
from tests.standin.navigation.crowd import Plan, run
from tests.standin.navigation.maps import ROAD, SIDEWALK, Ground
from tests.standin.process import StandIn, standin_process

MAPS = next(
    (maps for parent in Path(__file__).resolve().parents if (maps := parent / "shared" / "maps").is_dir()),
    Path("shared/maps"),
)
pytestmark = pytest.mark.skipif(not MAPS.is_dir(), reason=f"CARLA's own OpenDRIVE files are not in {MAPS}")

NAMES = tuple(f"Town0{number}" for number in range(1, 8))
WITH_PAVEMENTS = tuple(name for name in NAMES if name != "Town06")  # whose file has no sidewalk lane
WALKERS = 12


@pytest.fixture(scope="module", params=NAMES)
def town(request: pytest.FixtureRequest) -> Town:
    return towns.load(request.param, [MAPS])


@pytest.fixture(scope="module")
def with_maps() -> Iterator[StandIn]:
    with standin_process(f"--maps={MAPS}") as running:
        yield running


def test_a_real_town_takes_the_place_of_ours(town: Town) -> None:
    assert town.name.rpartition("/")[2] in NAMES
    assert "carlad" not in town.xodr[:1000]
    assert f"/Game/{town.name}" in towns.available([MAPS])


def test_crossings_have_lights_with_lanes_to_stop(town: Town) -> None:
    assert len(town.light_groups) >= 3
    for light in town.lights:
        assert light.stop_lines
        assert all(stop.width > 1.0 for stop in light.stop_lines)
    assert {light.signal_id for light in town.lights} == {
        landmark.id for landmark in town.map.get_all_landmarks_of_type("1000001")
    }


def test_vehicles_may_appear_in_many_places_apart_from_each_other(town: Town) -> None:
    assert len(town.spawn_points) >= 60
    for index, pose in enumerate(town.spawn_points):
        waypoint = town.map.get_waypoint(carla.Location(pose.location.x, pose.location.y, pose.location.z))
        assert not waypoint.is_junction
        assert waypoint.next_until_lane_end(2.0)[-1].next(4.0)
        for other in town.spawn_points[:index]:
            apart = abs(pose.location.x - other.location.x) + abs(pose.location.y - other.location.y)
            assert apart > 2.5 or abs(pose.location.z - other.location.z) > 3.0


def test_towns_with_pavements_have_crosswalks_and_a_sound_mesh(town: Town) -> None:
    paved = town.name.rpartition("/")[2] in WITH_PAVEMENTS
    assert bool(town.map.get_crosswalks()) == paved
    assert (navigation.file_name(town.name, town.xodr) is not None) == paved
    if paved:
        checked(navigation.mesh_file(town.map, town.xodr))


def test_the_client_loads_a_town_that_only_the_directory_has(with_maps: StandIn) -> None:
    client = carla.Client("127.0.0.1", with_maps.rpc_port)
    client.set_timeout(20.0)
    assert "/Game/Carla/Maps/Town07" in client.get_available_maps()
    world = client.load_world("Town07")
    assert world.get_map().name == "Carla/Maps/Town07"
    assert world.get_actors().filter("traffic.traffic_light")


@pytest.mark.system
@pytest.mark.parametrize("name", NAMES)
def test_the_traffic_manager_drives_1000_ticks(with_maps: StandIn, name: str) -> None:
    command = [sys.executable, "-m", "tests.standin.scripts.town_drive"]
    command += [str(with_maps.rpc_port), str(free_port()), name, "50"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["alive"] == seen["vehicles"] == 30
    # Town06 is a motorway: the Traffic Manager leaves its lane there in bends that it takes at 105 km/h.
    assert seen["astray"] < (0.06 if name == "Town06" else 0.02)
    assert seen["above"] < 0.25
    assert seen["way"][15] > 100.0  # the others wait at lights, or behind who does


@pytest.mark.system
@pytest.mark.parametrize("name", WITH_PAVEMENTS)
def test_walkers_walk(with_maps: StandIn, name: str, tmp_path: Path) -> None:
    client = carla.Client("127.0.0.1", with_maps.rpc_port)
    client.set_timeout(20.0)
    client.load_world(name)
    seen = run(with_maps.rpc_port, tmp_path, Plan(WALKERS, ticks=500))
    (file,) = (tmp_path / "carlaCache").rglob(f"Nav/{name}-*.bin")
    ground = Ground(checked(file.read_bytes()))
    assert all(ground.area_at(*place) == SIDEWALK for place in seen["places"])
    areas = {ground.area_at(*place) for place in seen["samples"]}
    assert not areas & {0, ROAD}
    assert sorted(seen["walked_m"])[WALKERS // 2] > 20.0
    assert seen["fastest_mps"] < 4.0
