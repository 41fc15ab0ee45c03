"""The unmodified `carla` client from PyPI is the judge of what the stand-in answers."""

from __future__ import annotations

import math
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_float

import carla
import numpy as np
import pytest

from tests.standin.conftest import DELTA_S

AHEAD = 12.0  # m


def blueprint(world: carla.World, name: str, **attributes: object) -> carla.ActorBlueprint:
    found = world.get_blueprint_library().find(name)
    for key, value in attributes.items():
        found.set_attribute(key, str(value))
    return found


def car(world: carla.World, index: int = 0) -> carla.Vehicle:
    """A car that stands on the road."""
    pose = world.get_map().get_spawn_points()[index]
    vehicle = world.spawn_actor(blueprint(world, "vehicle.lincoln.mkz_2020"), pose)
    ticks(world, 20)
    return vehicle


def ticks(world: carla.World, count: int) -> int:
    frame = 0
    for _ in range(count):
        frame = world.tick()
    return frame


@contextmanager
def listening(
    world: carla.World, name: str, parent: carla.Actor | None, **attributes: object
) -> Iterator[queue.Queue]:
    """A sensor 2 m above its parent, and its messages. It must end with nothing unread."""
    pose = carla.Transform(carla.Location(z=2.0))
    sensor = world.spawn_actor(blueprint(world, name, **attributes), pose, attach_to=parent)
    messages: queue.Queue = queue.Queue()
    sensor.listen(messages.put)
    try:
        yield messages
    finally:
        sensor.stop()
        sensor.destroy()


def ahead(pose: carla.Transform, metres: float) -> carla.Transform:
    return carla.Transform(pose.location + pose.get_forward_vector() * metres, pose.rotation)


# --- world, clock and map ----------------------------------------------------------------------------


def test_version_is_the_clients_own(client: carla.Client) -> None:
    assert client.get_server_version() == client.get_client_version() == "0.9.16"


def test_asynchronous_world_ticks_by_itself(client: carla.Client) -> None:
    world = client.get_world()
    first = world.wait_for_tick()
    second = world.wait_for_tick()
    assert second.frame > first.frame
    assert second.timestamp.elapsed_seconds > first.timestamp.elapsed_seconds


def test_synchronous_tick_advances_exactly_one_frame(world: carla.World) -> None:
    before = world.get_snapshot()
    frame = world.tick()
    after = world.get_snapshot()
    assert frame == after.frame == before.frame + 1
    assert after.timestamp.delta_seconds == pytest.approx(DELTA_S)
    assert after.timestamp.elapsed_seconds - before.timestamp.elapsed_seconds == pytest.approx(DELTA_S)


def test_an_episode_s_time_is_the_sum_of_its_steps_as_unreal_has_them(
    client: carla.Client, world: carla.World
) -> None:
    for _ in range(10):
        world.tick()
    fresh = client.load_world("Town01", False)
    step_s = c_float(DELTA_S).value
    first = fresh.get_snapshot().timestamp.elapsed_seconds
    assert first in (0.0, step_s, 2 * step_s)  # the client may have ticked while it waited for the map
    for count in (1, 2, 3):
        fresh.tick()
        stamp = fresh.get_snapshot().timestamp
        assert stamp.delta_seconds == step_s
        assert stamp.elapsed_seconds == first + count * step_s
    assert fresh.get_settings().fixed_delta_seconds == DELTA_S


def test_settings_make_the_round_trip(world: carla.World) -> None:
    settings = world.get_settings()
    assert settings.synchronous_mode
    assert settings.fixed_delta_seconds == pytest.approx(DELTA_S)
    settings.no_rendering_mode = True
    settings.max_substeps = 7
    world.apply_settings(settings)
    assert world.get_settings() == settings


def test_map_has_roads_waypoints_and_spawn_points(world: carla.World) -> None:
    town = world.get_map()
    assert town.name == "Carla/Maps/Town01"
    assert len(town.get_topology()) > 50
    for pose in town.get_spawn_points():
        waypoint = town.get_waypoint(pose.location)
        assert waypoint.lane_type == carla.LaneType.Driving
        assert waypoint.next(5.0)
        assert 0.3 <= pose.location.z - waypoint.transform.location.z <= 0.6


def test_available_maps_are_named_as_carla_names_them(client: carla.Client) -> None:
    assert {"/Game/Carla/Maps/Town01", "/Game/Carla/Maps/Town02"} <= set(client.get_available_maps())


def test_weather_is_stored(world: carla.World) -> None:
    before = world.get_weather()
    world.set_weather(carla.WeatherParameters.HardRainNoon)
    assert world.get_weather() == carla.WeatherParameters.HardRainNoon
    world.set_weather(before)


def test_spectator_moves(world: carla.World) -> None:
    spectator = world.get_spectator()
    spectator.set_transform(carla.Transform(carla.Location(x=1, y=2, z=99), carla.Rotation(yaw=30)))
    world.tick()
    assert spectator.get_location().z == pytest.approx(99.0)
    assert spectator.get_transform().rotation.yaw == pytest.approx(30.0)


# --- actors ------------------------------------------------------------------------------------------


def test_blueprints_are_carlas(world: carla.World) -> None:
    library = world.get_blueprint_library()
    assert len(library.filter("vehicle.*")) == 41
    assert library.find("sensor.camera.rgb").get_attribute("image_size_x").as_int() == 800


def test_spawned_actor_carries_its_attributes(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[3]
    wanted = blueprint(world, "vehicle.audi.tt", role_name="hero", color="1,2,3")
    vehicle = world.spawn_actor(wanted, pose)
    world.tick()
    assert vehicle.attributes["role_name"] == "hero"
    assert vehicle.attributes["color"] == "1,2,3"
    assert vehicle.attributes["number_of_wheels"] == "4"
    assert vehicle.bounding_box.extent.x == pytest.approx(2.09, abs=0.2)
    assert world.get_actor(vehicle.id).type_id == "vehicle.audi.tt"
    assert vehicle.get_transform().location.distance(pose.location) < 0.1
    assert vehicle.is_alive


def test_spawn_on_top_of_another_is_refused_in_carlas_words(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[0]
    assert car(world) is not None
    assert world.try_spawn_actor(blueprint(world, "vehicle.audi.tt"), pose) is None
    with pytest.raises(RuntimeError, match="Spawn failed because of collision at spawn position"):
        world.spawn_actor(blueprint(world, "vehicle.audi.tt"), pose)


def test_destroyed_actor_is_gone_from_the_snapshot(world: carla.World) -> None:
    vehicle = car(world)
    assert vehicle.destroy()
    world.tick()
    assert world.get_snapshot().find(vehicle.id) is None
    assert vehicle.id not in {actor.id for actor in world.get_actors()}


def test_attached_actor_moves_with_its_parent(world: carla.World) -> None:
    vehicle = car(world)
    pose = carla.Transform(carla.Location(x=1.5, y=0.5, z=2.0), carla.Rotation(yaw=90))
    sensor = world.spawn_actor(
        blueprint(world, "sensor.other.gnss"), pose, vehicle, carla.AttachmentType.Rigid
    )
    vehicle.apply_control(carla.VehicleControl(throttle=1.0, steer=0.3))
    ticks(world, 30)
    expected = vehicle.get_transform().transform(carla.Location(x=1.5, y=0.5, z=2.0))
    assert sensor.parent.id == vehicle.id
    assert sensor.get_location().distance(expected) < 1e-3
    turned = sensor.get_transform().rotation.yaw - vehicle.get_transform().rotation.yaw
    assert turned % 360.0 == pytest.approx(90.0, abs=1e-3)
    vehicle.destroy()
    world.tick()
    assert sensor.get_location().distance(expected) < 1e-3


def test_batch_answers_each_command(client: carla.Client, world: carla.World) -> None:
    spawn, points = carla.command.SpawnActor, world.get_map().get_spawn_points()
    tesla = blueprint(world, "vehicle.tesla.model3")
    future = carla.command.FutureActor
    answers = client.apply_batch_sync(
        [
            spawn(tesla, points[10]).then(
                carla.command.ApplyVehicleControl(future, carla.VehicleControl(throttle=0.4))
            ),
            spawn(tesla, points[10]),
            carla.command.DestroyActor(10**6),
        ],
        True,
    )
    assert [bool(answer.error) for answer in answers] == [False, True, True]
    assert "collision" in answers[1].error
    assert answers[2].error == "unable to destroy actor: not found"
    vehicle = world.get_actor(answers[0].actor_id)
    assert vehicle.get_control().throttle == pytest.approx(0.4)
    client.apply_batch([carla.command.DestroyActor(vehicle)])
    world.tick()
    assert world.get_snapshot().find(vehicle.id) is None


# --- vehicles and walkers ----------------------------------------------------------------------------


def test_velocity_is_the_derivative_of_the_location(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    ticks(world, 40)
    before = vehicle.get_location()
    world.tick()
    moved = vehicle.get_location().distance(before)
    # The velocity is that at the end of the tick.
    speed = (vehicle.get_velocity() - vehicle.get_acceleration() * 0.5 * DELTA_S).length()
    assert moved == pytest.approx(speed * DELTA_S, abs=2e-3)
    assert vehicle.get_velocity().length() > 5.0
    assert vehicle.get_control().gear >= 1


@pytest.mark.parametrize(("steer", "sign"), [(0.3, 1), (-0.3, -1)])
def test_positive_steer_turns_right(world: carla.World, steer: float, sign: int) -> None:
    vehicle = car(world)
    before = vehicle.get_transform()
    vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=steer))
    ticks(world, 40)
    turned = (vehicle.get_transform().rotation.yaw - before.rotation.yaw + 180.0) % 360.0 - 180.0
    offset = vehicle.get_location() - before.location
    assert sign * turned > 5.0
    assert sign * before.get_right_vector().dot(carla.Vector3D(offset.x, offset.y, offset.z)) > 0.1
    assert sign * vehicle.get_angular_velocity().z > 1.0


def test_brake_stops_and_reverse_drives_back(world: carla.World) -> None:
    vehicle = car(world)
    start = vehicle.get_transform()
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    ticks(world, 30)
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    ticks(world, 40)
    stopped = vehicle.get_location()
    assert vehicle.get_velocity().length() == pytest.approx(0.0, abs=1e-6)
    vehicle.apply_control(carla.VehicleControl(throttle=0.5, reverse=True))
    ticks(world, 30)
    assert vehicle.get_location().distance(start.location) < stopped.distance(start.location) - 1.0
    assert vehicle.get_control().reverse


def test_teleported_vehicle_stands_where_it_was_put(world: carla.World) -> None:
    vehicle, points = car(world), world.get_map().get_spawn_points()
    vehicle.set_target_velocity(carla.Vector3D())
    vehicle.set_transform(points[7])
    world.tick()
    assert vehicle.get_location().distance(points[7].location) < 0.1


def test_a_teleported_vehicle_goes_on_in_the_direction_in_which_it_went(world: carla.World) -> None:
    vehicle, pose = car(world), world.get_map().get_spawn_points()[7]
    ahead, aside = pose.get_forward_vector(), pose.get_right_vector()
    vehicle.set_target_velocity(aside * 10.0)
    vehicle.set_transform(pose)
    world.tick()
    velocity = vehicle.get_velocity()
    assert velocity.dot(aside) > 5.0
    assert abs(velocity.dot(ahead)) < 1.0


def test_constant_velocity_is_held_until_it_is_released(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.enable_constant_velocity(carla.Vector3D(x=7.0))
    ticks(world, 10)
    assert vehicle.get_velocity().length() == pytest.approx(7.0, abs=0.1)
    vehicle.disable_constant_velocity()
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    ticks(world, 30)
    assert vehicle.get_velocity().length() == pytest.approx(0.0, abs=1e-6)


def test_target_velocity_is_taken_at_once(world: carla.World) -> None:
    vehicle = car(world)
    forward = vehicle.get_transform().get_forward_vector()
    vehicle.set_target_velocity(forward * 5.0)
    world.tick()
    assert vehicle.get_velocity().length() == pytest.approx(5.0, abs=0.2)


def test_vehicle_without_physics_stays_where_it_is(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.set_simulate_physics(False)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    pose = vehicle.get_transform()
    pose.location.z += 5.0
    vehicle.set_transform(pose)
    ticks(world, 20)
    assert vehicle.get_location().distance(pose.location) < 1e-3
    vehicle.set_simulate_physics(True)
    ticks(world, 40)
    assert vehicle.get_location().distance(pose.location) > 5.0


def test_lights_and_physics_can_be_asked(world: carla.World) -> None:
    vehicle = car(world)
    wanted = carla.VehicleLightState(carla.VehicleLightState.LowBeam | carla.VehicleLightState.Brake)
    vehicle.set_light_state(wanted)
    world.tick()
    assert vehicle.get_light_state() == wanted
    physics = vehicle.get_physics_control()
    assert len(physics.wheels) == 4
    assert physics.mass > 500.0
    front, rear = physics.wheels[0].position, physics.wheels[2].position
    assert math.hypot(front.x - rear.x, front.y - rear.y) / 100.0 == pytest.approx(2.9, abs=0.3)


def test_walker_walks_as_told(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[20]
    pose.location.z += 1.0
    walker = world.spawn_actor(blueprint(world, "walker.pedestrian.0001"), pose)
    world.tick()
    before = walker.get_location()
    walker.apply_control(carla.WalkerControl(carla.Vector3D(x=0.0, y=1.0), 1.4))
    ticks(world, 20)
    assert walker.get_location().y - before.y == pytest.approx(1.4 * 20 * DELTA_S, abs=1e-3)
    assert walker.get_transform().rotation.yaw == pytest.approx(90.0)
    assert walker.get_control().speed == pytest.approx(1.4)


def test_a_walkers_acceleration_is_the_change_of_its_velocity(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[20]
    pose.location.z += 1.0
    walker = world.spawn_actor(blueprint(world, "walker.pedestrian.0001"), pose)
    world.tick()
    for speed in (1.4, 1.4, 3.0, 0.0):
        before = walker.get_velocity()
        walker.apply_control(carla.WalkerControl(carla.Vector3D(x=0.6, y=0.8), speed))
        world.tick()
        expected = (walker.get_velocity() - before) / DELTA_S
        assert (walker.get_acceleration() - expected).length() < 1e-3 * max(1.0, expected.length())
    assert walker.get_acceleration().length() == pytest.approx(3.0 / DELTA_S, rel=1e-3)


# --- traffic lights ----------------------------------------------------------------------------------


def traffic_lights(world: carla.World) -> list[carla.TrafficLight]:
    return list(world.get_actors().filter("traffic.traffic_light"))


def test_each_landmark_of_a_signal_has_its_light(world: carla.World) -> None:
    signals = {landmark.id for landmark in world.get_map().get_all_landmarks_of_type("1000001")}
    assert {light.get_opendrive_id() for light in traffic_lights(world)} == signals != set()


def test_lights_of_a_junction_are_a_group_and_cycle(world: carla.World) -> None:
    light = traffic_lights(world)[0]
    group = light.get_group_traffic_lights()
    assert light.id in {member.id for member in group}
    light.reset_group()
    world.tick()
    seen = set()
    for _ in range(400):
        world.tick()
        states = [member.get_state() for member in group]
        seen.update(states)
        assert len({str(state) for state in states} - {"Red"}) <= 1
    assert {str(state) for state in seen} == {"Red", "Green", "Yellow"}


def test_frozen_light_keeps_the_state_it_was_given(world: carla.World) -> None:
    light = traffic_lights(world)[0]
    light.set_state(carla.TrafficLightState.Yellow)
    light.freeze(True)
    ticks(world, 80)
    assert light.get_state() == carla.TrafficLightState.Yellow
    assert light.is_frozen()
    light.freeze(False)
    light.set_green_time(4.0)
    world.tick()
    assert not light.is_frozen()
    assert light.get_green_time() == pytest.approx(4.0)
    world.reset_all_traffic_lights()


def test_vehicle_before_a_stop_line_is_at_that_light(world: carla.World) -> None:
    light = traffic_lights(world)[0]
    line = light.get_stop_waypoints()[0]
    vehicle = car(world)
    behind = line.previous(vehicle.bounding_box.extent.x + 2.0)[0].transform
    behind.location.z += 0.1
    vehicle.set_transform(behind)
    light.set_state(carla.TrafficLightState.Red)
    light.freeze(True)
    ticks(world, 2)
    assert vehicle.is_at_traffic_light()
    assert vehicle.get_traffic_light().id == light.id
    assert vehicle.get_traffic_light_state() == carla.TrafficLightState.Red
    vehicle.set_transform(line.previous(40.0)[0].transform)
    ticks(world, 2)
    assert not vehicle.is_at_traffic_light()
    light.freeze(False)


# --- sensors -----------------------------------------------------------------------------------------


def test_no_frame_is_missing_from_the_first_on(world: carla.World) -> None:
    vehicle = car(world)
    for _ in range(10):
        with listening(world, "sensor.other.imu", vehicle) as messages:
            frames = [world.tick() for _ in range(3)]
            assert [messages.get(timeout=2.0).frame for _ in frames] == frames


def test_sensor_tick_spaces_the_measurements(world: carla.World) -> None:
    vehicle = car(world)
    with listening(world, "sensor.other.gnss", vehicle, sensor_tick=0.2) as messages:
        first = ticks(world, 12) - 11
        assert messages.qsize() == 3
        assert [messages.get().frame - first for _ in range(3)] == [0, 4, 8]


def test_imu_feels_gravity_acceleration_and_turns(world: carla.World) -> None:
    vehicle = car(world)
    with listening(world, "sensor.other.imu", vehicle) as messages:
        world.tick()
        rest = messages.get(timeout=2.0)
        assert rest.accelerometer.z == pytest.approx(9.81, abs=0.01)
        assert abs(rest.accelerometer.x) < 0.01
        yaw = math.radians(vehicle.get_transform().rotation.yaw)
        assert rest.compass == pytest.approx((yaw + math.pi / 2) % (2 * math.pi), abs=1e-3)
        vehicle.apply_control(carla.VehicleControl(throttle=1.0, steer=0.2))
        ticks(world, 20)
        driving = [messages.get(timeout=2.0) for _ in range(20)][-1]
        assert driving.accelerometer.x > 2.0
        assert driving.gyroscope.z > 0.02


def test_gnss_follows_the_maps_geo_reference(world: carla.World) -> None:
    vehicle = car(world)
    with listening(world, "sensor.other.gnss", vehicle) as messages:
        world.tick()
        fix = messages.get(timeout=2.0)
    where = world.get_map().transform_to_geolocation(fix.transform.location)
    assert fix.latitude == pytest.approx(where.latitude, abs=1e-9)
    assert fix.longitude == pytest.approx(where.longitude, abs=1e-9)
    assert fix.transform.location.distance(vehicle.get_location()) == pytest.approx(2.0, abs=1e-3)


def test_collision_tells_both_sides_and_the_impulse(world: carla.World) -> None:
    vehicle = car(world)
    pose = ahead(vehicle.get_transform(), AHEAD)
    pose.location.z += 0.1
    other = world.spawn_actor(blueprint(world, "vehicle.audi.tt"), pose)
    with listening(world, "sensor.other.collision", vehicle) as messages:
        vehicle.apply_control(carla.VehicleControl(throttle=1.0))
        ticks(world, 80)
        event = messages.get(timeout=2.0)
        assert (event.actor.id, event.other_actor.id) == (vehicle.id, other.id)
        forward = vehicle.get_transform().get_forward_vector()
        assert event.normal_impulse.dot(forward) < -1000.0
        assert other.get_location().distance(pose.location) > 0.5


def test_a_walker_is_pushed_by_the_car_that_hits_it(world: carla.World) -> None:
    vehicle = car(world)
    pose = ahead(vehicle.get_transform(), AHEAD)
    pose.location.z += 1.0
    walker = world.spawn_actor(blueprint(world, "walker.pedestrian.0002"), pose)
    with listening(world, "sensor.other.collision", vehicle) as messages:
        vehicle.apply_control(carla.VehicleControl(throttle=1.0))
        ticks(world, 60)
        assert messages.get(timeout=2.0).other_actor.id == walker.id
    assert walker.get_location().distance(pose.location) > 1.0


def test_a_vehicle_with_collisions_switched_off_drives_through(world: carla.World) -> None:
    vehicle = car(world)
    pose = ahead(vehicle.get_transform(), AHEAD)
    pose.location.z += 0.1
    other = world.spawn_actor(blueprint(world, "vehicle.audi.tt"), pose)
    other.set_collisions(False)
    with listening(world, "sensor.other.collision", vehicle) as messages:
        vehicle.apply_control(carla.VehicleControl(throttle=1.0))
        ticks(world, 80)
        assert messages.empty()
    assert other.get_location().distance(pose.location) < 0.2


def test_lane_invasion_is_found_by_the_client(world: carla.World) -> None:
    vehicle = car(world)
    sensor = world.spawn_actor(
        blueprint(world, "sensor.other.lane_invasion"), carla.Transform(), attach_to=vehicle
    )
    events: queue.Queue = queue.Queue()
    sensor.listen(events.put)
    vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=-0.15))
    ticks(world, 80)
    assert events.get(timeout=2.0).crossed_lane_markings
    sensor.stop()
    sensor.destroy()


SMALL = {"image_size_x": 60, "image_size_y": 40}


def pixels(image: carla.Image) -> np.ndarray:
    """uint8 (H, W, 4), B G R A."""
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)


def test_cameras_agree_on_what_is_ahead(world: carla.World) -> None:
    vehicle = car(world)
    pose = ahead(vehicle.get_transform(), AHEAD)
    pose.location.z += 0.1
    world.spawn_actor(blueprint(world, "vehicle.carlamotors.firetruck"), pose)
    with (
        listening(world, "sensor.camera.rgb", vehicle, **SMALL) as rgb,
        listening(world, "sensor.camera.depth", vehicle, **SMALL) as depth,
        listening(world, "sensor.camera.semantic_segmentation", vehicle, **SMALL) as semantic,
    ):
        frame = world.tick()
        images = [messages.get(timeout=5.0) for messages in (rgb, depth, semantic)]
    assert [image.frame for image in images] == [frame] * 3
    assert [image.fov for image in images] == [90.0] * 3
    color, far, tags = (pixels(image) for image in images)
    metres = (far[..., 2] + 256.0 * far[..., 1] + 65536.0 * far[..., 0]) / (2**24 - 1) * 1000.0
    truck = tags[..., 2] == int(carla.CityObjectLabel.Truck)
    sky = tags[..., 2] == int(carla.CityObjectLabel.Sky)
    assert truck[20, 30]
    assert 3.0 < np.median(metres[truck]) < AHEAD
    assert np.all(metres[sky] > 990.0)
    assert len(np.unique(color.reshape(-1, 4), axis=0)) > 10


@pytest.mark.parametrize("kind", ["ray_cast", "ray_cast_semantic"])
def test_lidar_sees_the_ground_below(world: carla.World, kind: str) -> None:
    vehicle = car(world)
    name = f"sensor.lidar.{kind}"
    with listening(
        world, name, vehicle, channels=16, range=30, points_per_second=40000, rotation_frequency=20
    ) as out:
        world.tick()
        scan = out.get(timeout=5.0)
    assert scan.channels == 16
    columns = 4 if kind == "ray_cast" else 6
    points = np.frombuffer(scan.raw_data, np.float32).reshape(-1, columns)
    assert len(points) == len(scan) > 200
    assert sum(scan.get_point_count(channel) for channel in range(16)) == len(points)
    below = points[points[:, 2] < -1.0]
    assert np.abs(below[:, 2] + 2.0).min() < 0.1
    if kind == "ray_cast_semantic":
        tags = {detection.object_tag for detection in scan}
        assert int(carla.CityObjectLabel.Roads) in tags


def test_every_sensor_of_the_library_can_be_had(world: carla.World) -> None:
    found = world.get_blueprint_library().filter("sensor.*")
    assert len(found) == 19
    for wanted in found:
        assert world.spawn_actor(wanted, carla.Transform(carla.Location(z=5.0))).type_id == wanted.id


def test_same_calls_give_the_same_motion_to_the_last_bit(world: carla.World) -> None:
    def drive() -> list[tuple[float, ...]]:
        vehicle = car(world, 5)
        seen = []
        for step in range(60):
            vehicle.apply_control(carla.VehicleControl(throttle=0.7, steer=math.sin(step / 9.0)))
            world.tick()
            pose, speed = vehicle.get_transform(), vehicle.get_velocity()
            seen.append((pose.location.x, pose.location.y, pose.rotation.yaw, speed.x, speed.y))
        vehicle.destroy()
        world.tick()
        return seen

    assert drive() == drive()
