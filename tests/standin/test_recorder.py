"""Recordings: made, asked about and replayed through the official client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import carla
import pytest

from tests.standin.conftest import DELTA_S
from tests.standin.process import StandIn, standin_process
from tests.standin.test_official_client import ahead, blueprint, car, ticks

NO_OFFSET = carla.Transform(carla.Location(x=-10.0, z=5.0), carla.Rotation(pitch=-25.0))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[StandIn]:
    with standin_process("--recordings", str(directory), "--map", "Town02") as running:
        yield running


@pytest.fixture
def drive(client: carla.Client, world: carla.World) -> list[carla.Location]:
    """Where a car was after each of the 40 ticks of a recording `drive.log`; it is gone afterwards."""
    vehicle = car(world)
    vehicle.set_light_state(carla.VehicleLightState(carla.VehicleLightState.LowBeam))
    client.start_recorder("drive.log", True)
    vehicle.apply_control(carla.VehicleControl(throttle=0.8))
    way = []
    for _ in range(40):
        world.tick()
        way.append(vehicle.get_location())
    client.stop_recorder()
    vehicle.destroy()
    world.tick()
    return way


def replay(client: carla.Client, start: float = 0.0, duration: float = 0.0, follow: int = 0) -> str:
    return client.replay_file("drive.log", start, duration, follow, False, NO_OFFSET)


def replayed(world: carla.World) -> carla.Vehicle:
    (vehicle,) = world.get_actors().filter("vehicle.*")
    return vehicle


def test_a_recording_lies_where_the_server_says(
    client: carla.Client, world: carla.World, directory: Path, tmp_path: Path
) -> None:
    assert client.start_recorder("here.log") == str(directory / "here.log")
    elsewhere = tmp_path / "there" / "there.log"
    assert client.start_recorder(str(elsewhere)) == str(elsewhere)
    world.tick()
    client.stop_recorder()
    assert client.show_recorder_file_info(str(elsewhere), False).endswith(
        f"\nFrames: 1\nDuration: {DELTA_S:g} seconds\n"
    )


def test_another_file_is_not_overwritten(client: carla.Client, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("thesis")
    assert client.start_recorder(str(precious)) == ""
    assert precious.read_text() == "thesis"


def test_file_info_tells_who_came_and_went(client: carla.Client, drive: list[carla.Location]) -> None:
    text = client.show_recorder_file_info("drive.log", False)
    assert text.startswith("Version: 1\nMap: Carla/Maps/Town02\nDate: ")
    assert ": vehicle.lincoln.mkz_2020 (1) at (" in text
    assert "  number_of_wheels = 4\n" in text
    assert "Positions" not in text
    assert text.endswith("\nFrames: 40\nDuration: 2 seconds\n")
    everything = client.show_recorder_file_info("drive.log", True)
    assert everything.count("Frame ") == 40
    assert " Steering: 0 Throttle: 0.8 Brake: 0 Handbrake: 0 Gear: " in everything
    assert " LowBeam\n" in everything


def test_a_missing_recording_is_told_of(client: carla.Client, directory: Path) -> None:
    missing = f"File {directory / 'missing.log'} not found on server\n"
    assert client.show_recorder_file_info("missing.log", False) == missing
    assert client.replay_file("missing.log", 0, 0, 0).endswith(missing)
    (directory / "garbage.log").write_bytes(b"\xc1 no recording")
    assert client.show_recorder_collisions("garbage.log", "a", "a") == "File is not a CARLA recorder\n"


def test_a_recording_that_was_cut_off_is_good_up_to_there(
    client: carla.Client, directory: Path, drive: list[carla.Location]
) -> None:
    whole = (directory / "drive.log").read_bytes()
    (directory / "cut.log").write_bytes(whole[: len(whole) - 10])
    assert "\nFrames: 39\n" in client.show_recorder_file_info("cut.log", False)


def test_collisions_and_blocked_actors_are_found(client: carla.Client, world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[0]
    rear = world.spawn_actor(blueprint(world, "vehicle.audi.tt", role_name="hero"), pose)
    front = world.spawn_actor(blueprint(world, "vehicle.tesla.model3"), ahead(pose, 8.0))
    ticks(world, 10)
    client.start_recorder("crash.log")
    rear.enable_constant_velocity(carla.Vector3D(x=6.0))
    ticks(world, 20)
    rear.disable_constant_velocity()
    for vehicle in (rear, front):
        vehicle.apply_control(carla.VehicleControl(brake=1.0))
    ticks(world, 60)
    client.stop_recorder()
    lines = client.show_recorder_collisions("crash.log", "h", "v").splitlines()
    header = f"{'Time':>8} {'Types':>6} {'Id':>6} {'Actor 1':<35} {'Id':>6} {'Actor 2':<35}"
    assert header in lines
    hit = lines[lines.index(header) + 1].split()
    assert hit[1:] == f"v v {rear.id} vehicle.audi.tt {front.id} vehicle.tesla.model3".split()
    assert "vehicle" not in client.show_recorder_collisions("crash.log", "w", "a")
    blocked = client.show_recorder_actors_blocked("crash.log", 1.0, 10.0)
    assert "vehicle.tesla.model3" in blocked
    assert "vehicle.tesla.model3" not in client.show_recorder_actors_blocked("crash.log", 100.0, 10.0)


def test_a_replay_goes_the_recorded_way_and_then_lets_go(
    client: carla.Client, world: carla.World, drive: list[carla.Location]
) -> None:
    assert "Replaying from 0 s - 2 s (2 s) at 1.0x\n" in replay(client)
    for step in range(1, 39):
        world.tick()
        assert replayed(world).get_location().distance(drive[step - 1]) < 0.02
    assert replayed(world).get_light_state() == carla.VehicleLightState.LowBeam
    ticks(world, 5)
    assert replayed(world).get_velocity().length() < 0.1
    replayed(world).apply_control(carla.VehicleControl(throttle=1.0))
    before = replayed(world).get_location()
    ticks(world, 40)
    assert replayed(world).get_location().distance(before) > 1.0


def recorded_id(client: carla.Client) -> int:
    recorded = client.show_recorder_file_info("drive.log", False)
    (line,) = [line for line in recorded.splitlines() if "vehicle." in line and "Create" in line]
    return int(line.split()[1].rstrip(":"))


def test_who_is_replayed_bears_the_id_of_then(
    client: carla.Client, world: carla.World, drive: list[carla.Location]
) -> None:
    old_id = recorded_id(client)
    replay(client)
    world.tick()
    assert replayed(world).id == old_id
    cosmos = world.spawn_actor(
        blueprint(world, "sensor.camera.cosmos_visualization"), carla.Transform(), world.get_actor(old_id)
    )
    cosmos.set_ignored_vehicles([old_id])
    world.tick()
    assert cosmos.parent.id == old_id
    assert cosmos.id > old_id
    cosmos.destroy()
    client.stop_replayer(False)
    world.tick()
    later = car(world)
    world.tick()
    assert later.id > old_id
    later.destroy()


def test_a_replay_leaves_those_alone_who_are_in_its_way(
    client: carla.Client, world: carla.World, drive: list[carla.Location]
) -> None:
    parked = car(world)  # where the recorded car began
    ticks(world, 3)
    before = parked.get_location()
    replay(client)
    world.tick()
    (other,) = [v for v in world.get_actors().filter("vehicle.*") if v.id != parked.id]
    assert other.get_location().distance(drive[0]) < 0.02
    ticks(world, 20)
    assert parked.get_location().distance(before) < 0.01
    assert other.get_location().distance(drive[20]) < 0.02
    client.stop_replayer(False)
    parked.destroy()
    world.tick()


def test_a_hero_can_be_left_out_of_a_replay(client: carla.Client, world: carla.World) -> None:
    model = blueprint(world, "vehicle.audi.tt")
    model.set_attribute("role_name", "hero")
    hero = world.spawn_actor(model, world.get_map().get_spawn_points()[0])
    client.start_recorder("hero.log")
    ticks(world, 3)
    client.stop_recorder()
    hero.destroy()
    world.tick()
    client.set_replayer_ignore_hero(True)
    client.replay_file("hero.log", 0.0, 0.0, 0, False)
    world.tick()
    assert not world.get_actors().filter("vehicle.*")
    client.set_replayer_ignore_hero(False)
    client.replay_file("hero.log", 0.0, 0.0, 0, False)
    world.tick()
    assert replayed(world).attributes["role_name"] == "hero"
    client.stop_replayer(False)
    world.tick()


def test_a_replay_can_be_faster_and_begin_later(
    client: carla.Client, world: carla.World, drive: list[carla.Location]
) -> None:
    client.set_replayer_time_factor(2.0)
    assert "Replaying from 1 s - 1.5 s (2 s) at 2.0x\n" in replay(client, -1.0, 0.5)
    client.set_replayer_time_factor(1.0)
    world.tick()
    assert replayed(world).get_location().distance(drive[19]) < 2.0
    world.tick()
    world.tick()
    client.stop_replayer(False)
    world.tick()
    assert not world.get_actors().filter("vehicle.*")


def test_the_spectator_follows_whom_it_is_told_to(
    client: carla.Client, world: carla.World, drive: list[carla.Location]
) -> None:
    replay(client, follow=recorded_id(client))
    ticks(world, 10)
    place, vehicle = world.get_spectator().get_transform(), replayed(world).get_transform()
    assert place.location.distance(vehicle.location) == pytest.approx((10.0**2 + 5.0**2) ** 0.5, abs=1.0)
    assert place.rotation.pitch == pytest.approx(-25.0, abs=0.1)
    client.stop_replayer(False)
    world.tick()


def test_a_recording_of_another_map_loads_it(
    client: carla.Client, world: carla.World, drive: list[carla.Location]
) -> None:
    client.load_world("Town01", False)
    assert "Replayer will start after map is loaded..." in replay(client)
    again = client.get_world()
    again.tick()
    assert again.get_map().name.endswith("Town02")
    again.tick()
    assert replayed(again).get_location().distance(drive[1]) < 0.5
