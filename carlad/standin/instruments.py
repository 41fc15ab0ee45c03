"""GNSS and IMU: measured from the motion of the actor that carries them."""

from __future__ import annotations

from math import pi, radians
from typing import TYPE_CHECKING

import carla
import numpy as np

from carlad.standin.actors import Actor
from carlad.standin.geometry import matrix, unrotate
from carlad.wire import types as t
from carlad.wire.sensors import gnss_body, imu_body

if TYPE_CHECKING:
    from carlad.standin.simulation import Simulation


class _Noise:
    """Gaussian noise by a sensor's attributes, such as noise_lat_stddev and noise_lat_bias."""

    def __init__(self, actor: Actor, seed: int) -> None:
        self._values = actor.values
        own_seed = abs(int(self._values.get("noise_seed", "0") or 0))
        self._generator = np.random.default_rng([abs(seed), own_seed, actor.stream_id])

    def on(self, value: float, deviation: str, bias: str | None = None) -> float:
        """`value` with noise; `deviation` and `bias` name attributes in the value's unit."""
        deviation_value = float(self._values.get(deviation, "0") or 0)
        if deviation_value:
            value += float(self._generator.normal(0.0, deviation_value))
        return value + (float(self._values.get(bias, "0") or 0) if bias else 0.0)


class Gnss:
    """Latitude, longitude (degrees) and altitude (m) by the map's geo-reference."""

    def __init__(self, actor: Actor, simulation: Simulation, seed: int) -> None:
        self._noise = _Noise(actor, seed)
        self._map = simulation.town.map

    def measure(self, sensor: Actor, delta_s: float) -> tuple[bytes]:
        place = sensor.pose.location
        found = self._map.transform_to_geolocation(carla.Location(place.x, place.y, place.z))
        values = (("lat", found.latitude), ("lon", found.longitude), ("alt", found.altitude))
        noisy = [
            self._noise.on(value, f"noise_{name}_stddev", f"noise_{name}_bias") for name, value in values
        ]
        return (gnss_body(*noisy),)


class Imu:
    """Specific force, angular velocity and compass in the sensor's frame."""

    def __init__(self, actor: Actor, simulation: Simulation, seed: int) -> None:
        self._noise = _Noise(actor, seed)
        self._simulation = simulation

    def measure(self, sensor: Actor, delta_s: float) -> tuple[bytes]:
        carrier = sensor.parent or sensor
        world_from_sensor = matrix(sensor.pose.rotation)
        felt = carrier.acceleration
        force = t.Vector3D(felt.x, felt.y, felt.z + self._simulation.gravity_mps2)
        body_force = unrotate(world_from_sensor, force)
        turning = unrotate(world_from_sensor, carrier.angular_velocity)
        accelerometer = [
            self._noise.on(value, f"noise_accel_stddev_{axis}") for axis, value in _axes(body_force)
        ]
        gyroscope = [
            self._noise.on(radians(value), f"noise_gyro_stddev_{axis}", f"noise_gyro_bias_{axis}")
            for axis, value in _axes(turning)
        ]
        compass = (radians(sensor.pose.rotation.yaw) + pi / 2) % (2 * pi)  # 0 is north, which is -y
        return (imu_body(accelerometer, gyroscope, compass),)


def _axes(v: t.Vector3D) -> tuple[tuple[str, float], ...]:
    return ("x", v.x), ("y", v.y), ("z", v.z)
