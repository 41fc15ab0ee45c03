"""Sensors beyond the first cameras and LiDARs, as the official client receives them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import carla
import numpy as np
import numpy.typing as npt
import pytest

from tests.standin.conftest import DELTA_S
from tests.standin.test_official_client import ahead, blueprint, car, listening, ticks

SIZE = {"image_size_x": 96, "image_size_y": 64}
GAP_M = 15.0


@contextmanager
def two_cars(world: carla.World) -> Iterator[tuple[carla.Vehicle, carla.Vehicle]]:
    """One 15 m behind the other, both at rest."""
    rear = car(world)
    pose = ahead(world.get_map().get_spawn_points()[0], GAP_M)
    front = world.spawn_actor(blueprint(world, "vehicle.audi.tt"), pose)
    ticks(world, 20)
    yield rear, front
    world.tick()


def pixels(image: carla.Image) -> npt.NDArray[np.uint8]:
    """(H, W, 4): B, G, R, A"""
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)


@pytest.mark.parametrize(
    "name", ["instance_segmentation", "normals", "optical_flow", "depth", "semantic_segmentation"]
)
def test_every_camera_is_of_the_tick_and_has_its_pose(world: carla.World, name: str) -> None:
    vehicle = car(world)
    with listening(world, f"sensor.camera.{name}", vehicle, **SIZE) as images:
        for _ in range(3):
            frame = world.tick()
            image = images.get(timeout=5.0)
            assert image.frame == frame
            assert (image.width, image.height, image.fov) == (96, 64, 90.0)
            above = vehicle.get_location() + carla.Location(z=2.0)
            assert image.transform.location.distance(above) < 0.01


def test_instances_are_tags_and_actor_ids(world: carla.World) -> None:
    with (
        two_cars(world) as (rear, front),
        listening(world, "sensor.camera.instance_segmentation", rear, **SIZE) as images,
    ):
        world.tick()
        blue, green, red, _ = np.moveaxis(pixels(images.get(timeout=5.0)).astype(int), -1, 0)
        seen = set((green + 256 * blue)[red == int(carla.CityObjectLabel.Car)].tolist())
        assert front.id & 0xFFFF in seen
        roads = set((green + 256 * blue)[red == int(carla.CityObjectLabel.Roads)].tolist())
        assert not roads & {rear.id, front.id}


def test_the_road_points_upwards(world: carla.World) -> None:
    with listening(world, "sensor.camera.normals", car(world), **SIZE) as images:
        world.tick()
        bottom = pixels(images.get(timeout=5.0))[-1, 48]
        assert np.abs(bottom[:3].astype(int) - (255, 127, 127)).max() <= 1


def test_the_default_weather_is_the_map_s_own(world: carla.World) -> None:
    """CARLA's default is -1 throughout, which is no sun at the horizon."""
    own = world.get_weather()
    with listening(world, "sensor.camera.rgb", world.get_spectator(), **SIZE) as images:

        def seen(weather: carla.WeatherParameters) -> bytes:
            world.set_weather(weather)
            world.tick()
            assert world.get_weather() == weather
            return bytes(images.get(timeout=5.0).raw_data)

        by_day, at_night = seen(own), seen(carla.WeatherParameters.ClearNight)
        assert by_day != at_night
        assert seen(carla.WeatherParameters.Default) == by_day
        sunset = carla.WeatherParameters(sun_altitude_angle=-1.0, sun_azimuth_angle=-1.0)
        assert seen(sunset) not in (by_day, at_night)
        world.set_weather(own)


def test_the_road_flows_towards_a_moving_camera(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.enable_constant_velocity(carla.Vector3D(x=5.0))
    with listening(world, "sensor.camera.optical_flow", vehicle, **SIZE) as images:
        for _ in range(10):
            world.tick()
            image = images.get(timeout=5.0)
        flow = np.array([(pixel.x, pixel.y) for pixel in image]).reshape(64, 96, 2)
        left, right = flow[40:, :15].mean(axis=(0, 1)), flow[40:, -15:].mean(axis=(0, 1))
        assert left[0] < -0.005
        assert right[0] > 0.005
        assert max(left[1], right[1]) < -0.005


def test_an_event_camera_reports_motion_and_nothing_else(world: carla.World) -> None:
    vehicle = car(world)
    with listening(world, "sensor.camera.dvs", vehicle, **SIZE) as messages:
        ticks(world, 5)
        assert messages.empty()
        vehicle.enable_constant_velocity(carla.Vector3D(x=8.0))
        ticks(world, 10)
        frame = world.tick()
        newest = [messages.get(timeout=5.0)]
        while not messages.empty():
            newest.append(messages.get())
        events = newest[-1]
        assert events.frame == frame
        assert len(events) > 0
        stamps = [event.t for event in events]
        assert stamps == sorted(stamps)
        assert (
            (events.timestamp - DELTA_S) * 1e9 - 10 <= stamps[0] <= stamps[-1] <= events.timestamp * 1e9 + 10
        )
        assert max(event.x for event in events) < 96


def test_radar_measures_the_closing_speed(world: carla.World) -> None:
    with (
        two_cars(world) as (rear, front),
        listening(world, "sensor.other.radar", rear, horizontal_fov=20, vertical_fov=10) as scans,
    ):
        front.enable_constant_velocity(carla.Vector3D(x=4.0))
        ticks(world, 5)
        while not scans.empty():
            scans.get()
        frame = world.tick()
        scan = scans.get(timeout=5.0)
        assert scan.frame == frame
        assert 0 < len(scan) <= 1500 * DELTA_S
        moving = [detection for detection in scan if detection.velocity > 2.0]
        assert moving
        assert all(detection.velocity == pytest.approx(4.0, abs=0.4) for detection in moving)
        assert all(5.0 < detection.depth < GAP_M + 5.0 for detection in moving)
        assert all(abs(detection.azimuth) < 0.18 and abs(detection.altitude) < 0.09 for detection in scan)


def test_an_obstacle_ahead_is_reported_with_its_distance(world: carla.World) -> None:
    pose = carla.Transform(carla.Location(x=2.6, z=0.8))
    with two_cars(world) as (rear, front), obstacles(world, rear, pose, distance=20) as events:
        frame = world.tick()
        event = events.get(timeout=5.0)
        assert (event.frame, event.actor.id, event.other_actor.id) == (frame, rear.id, front.id)
        gap = front.get_location().distance(rear.get_location()) - 2.6 - front.bounding_box.extent.x
        assert event.distance == pytest.approx(gap, abs=0.7)


def test_no_obstacle_beyond_the_reach(world: carla.World) -> None:
    pose = carla.Transform(carla.Location(x=2.6, z=0.8))
    with two_cars(world) as (rear, _front), obstacles(world, rear, pose, distance=3) as events:
        ticks(world, 3)
        assert events.empty()


def test_a_house_is_an_obstacle_of_no_actor_unless_only_dynamics_count(world: carla.World) -> None:
    house = world.get_environment_objects(carla.CityObjectLabel.Buildings)[0].bounding_box
    away = carla.Location(x=house.extent.x + house.extent.y + 5.0, z=0.0)
    pose = carla.Transform(house.location - away, carla.Rotation())
    with obstacles(world, None, pose, distance=100) as events:
        world.tick()
        event = events.get(timeout=5.0)
        assert event.other_actor.type_id in {"static.building", "static.vegetation", "static.pole"}
    with obstacles(world, None, pose, distance=100, only_dynamics=True) as events:
        ticks(world, 3)
        assert events.empty()


def test_sensor_tick_makes_a_radar_rarer(world: carla.World) -> None:
    with listening(world, "sensor.other.radar", car(world), sensor_tick=4 * DELTA_S) as scans:
        ticks(world, 12)
        frames = [scans.get(timeout=5.0).frame for _ in range(3)]
        assert frames[2] - frames[1] == frames[1] - frames[0] == 4
        assert scans.empty()


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("sensor.other.radar", "range", -1),
        ("sensor.other.obstacle", "distance", -1),
        ("sensor.camera.dvs", "positive_threshold", 0),
        ("sensor.camera.normals", "image_size_x", 0),
        ("sensor.camera.optical_flow", "fov", 200),
    ],
)
def test_a_sensor_that_cannot_be_is_refused(
    world: carla.World, name: str, attribute: str, value: int
) -> None:
    with pytest.raises(RuntimeError, match="invalid actor description"):
        world.spawn_actor(blueprint(world, name, **{attribute: value}), carla.Transform())


def test_a_cosmos_camera_shows_cars_in_red_but_the_ego_and_those_it_is_told_to_ignore(
    world: carla.World,
) -> None:
    def red() -> int:
        world.tick()
        seen = pixels(images.get(timeout=5.0))
        return int((seen == (0, 0, 255, 255)).all(axis=-1).sum())

    with (
        two_cars(world) as (rear, front),
        listening(world, "sensor.camera.cosmos_visualization", rear, **SIZE) as images,
    ):
        both = red()
        (sensor,) = world.get_actors().filter("sensor.camera.cosmos_visualization")
        sensor.set_ignored_vehicles([rear.id])
        assert both >= red() > 0
        sensor.set_ignored_vehicles([rear.id, front.id])
        assert red() == 0
        sensor.set_ignored_vehicles([])
        assert red() == both
        with pytest.raises(RuntimeError, match="does not match the expected type"):
            sensor.set_ignored_vehicles([world.get_spectator().id])
        hero = blueprint(world, "vehicle.audi.a2", role_name="hero")
        ego = world.spawn_actor(hero, ahead(rear.get_transform(), 8.0))
        assert red() < both  # it hides the front car, and is not shown itself
        ego.destroy()


@pytest.mark.parametrize("name", ["sensor.other.v2x", "sensor.other.v2x_custom", "sensor.other.rss"])
def test_v2x_and_rss_sensors_can_be_had_and_send_nothing(world: carla.World, name: str) -> None:
    sensor = world.spawn_actor(blueprint(world, name), carla.Transform(), attach_to=car(world))
    ticks(world, 2)
    assert sensor.type_id == name
    assert sensor.destroy()


@contextmanager
def obstacles(
    world: carla.World, parent: carla.Actor | None, pose: carla.Transform, **attributes: object
) -> Iterator[queue.Queue]:
    found = blueprint(world, "sensor.other.obstacle", **attributes)
    sensor = world.spawn_actor(found, pose, attach_to=parent)
    events: queue.Queue = queue.Queue()
    sensor.listen(events.put)
    try:
        yield events
    finally:
        world.tick()
        sensor.stop()
        sensor.destroy()


def test_a_lidar_may_have_a_fraction_of_channels_as_carla_takes_it(world: carla.World) -> None:
    vehicle = car(world)
    with listening(world, "sensor.lidar.ray_cast", vehicle, channels="16.0") as scans:
        world.tick()
        assert scans.get(timeout=5.0).channels == 16


def test_a_prop_without_a_mesh_can_be_spawned_and_is_not_in_the_way(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[5]
    world.spawn_actor(blueprint(world, "static.prop.mesh"), pose)
    world.spawn_actor(blueprint(world, "vehicle.audi.tt"), pose)


NOISY_FRAMES = 1000
GNSS_NOISE = {
    "noise_lat_bias": 1e-4, "noise_lat_stddev": 1e-5, "noise_lon_bias": -2e-4, "noise_lon_stddev": 2e-5,
    "noise_alt_bias": 3.0, "noise_alt_stddev": 0.5,
}  # fmt: skip
IMU_NOISE = {
    "noise_accel_stddev_x": 0.1, "noise_accel_stddev_y": 0.2, "noise_accel_stddev_z": 0.3,
    "noise_gyro_bias_x": 0.1, "noise_gyro_bias_y": -0.1, "noise_gyro_bias_z": 0.2,
    "noise_gyro_stddev_x": 0.01, "noise_gyro_stddev_y": 0.02, "noise_gyro_stddev_z": 0.03,
}  # fmt: skip


def test_gnss_and_imu_noise_have_the_bias_and_the_deviation_of_their_attributes(world: carla.World) -> None:
    """Against sensors without noise on the same car, which stands."""
    vehicle = car(world)
    ticks(world, 20)
    gnss, imu = "sensor.other.gnss", "sensor.other.imu"
    with (
        listening(world, gnss, vehicle, **GNSS_NOISE) as noisy_places,
        listening(world, gnss, vehicle) as places,
        listening(world, imu, vehicle, **IMU_NOISE) as noisy_motions,
        listening(world, imu, vehicle) as motions,
    ):
        errors = []
        for _ in range(NOISY_FRAMES):
            world.tick()
            noisy = (*_place(noisy_places.get(timeout=5.0)), *_motion(noisy_motions.get(timeout=5.0)))
            exact = (*_place(places.get(timeout=5.0)), *_motion(motions.get(timeout=5.0)))
            errors.append(np.subtract(noisy, exact))
    names = ("lat", "lon", "alt", *(f"{what}_{axis}" for what in ("accel", "gyro") for axis in "xyz"))
    given = {**GNSS_NOISE, **IMU_NOISE}
    for name, column in zip(names, np.array(errors).T, strict=True):
        what, _, axis = name.partition("_")
        deviation = given["_".join(filter(None, ("noise", what, "stddev", axis)))]
        bias = given.get("_".join(filter(None, ("noise", what, "bias", axis))), 0.0)
        # Five standard errors, of the mean and of the deviation, of so many normal samples.
        assert abs(column.mean() - bias) < 5.0 * deviation / NOISY_FRAMES**0.5, name
        assert abs(column.std() / deviation - 1.0) < 5.0 / (2.0 * NOISY_FRAMES) ** 0.5, name


def _place(message: carla.GnssMeasurement) -> tuple[float, ...]:
    return message.latitude, message.longitude, message.altitude


def _motion(message: carla.IMUMeasurement) -> tuple[float, ...]:
    felt, turning = message.accelerometer, message.gyroscope
    return felt.x, felt.y, felt.z, turning.x, turning.y, turning.z
