"""The equations of motion, without a server."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from carlad.standin.dynamics import BRAKE_MAX_MPS2, GRIP_MPS2
from carlad.standin.vehicles import STEER_MAX_DEG, Vehicle, Vehicles
from carlad.wire import types as t

DELTA_S = 0.02
WHEELBASE_M = 2.9
BOX = t.BoundingBox(t.Vector3D(), t.Vector3D(2.4, 1.0, 0.75), t.Rotation())


def add(table: Vehicles, x: float = 0.0, yaw: float = 0.0, z: float = 0.0) -> Vehicle:
    pose = t.Transform(t.Vector3D(x, 0.0, z), t.Rotation(0.0, yaw, 0.0))
    description = t.ActorDescription(1, "vehicle.test", [])
    vehicle = Vehicle(len(table) + 1, description, pose, BOX, 14, WHEELBASE_M, 1700.0, (0, 0, 0), table)
    table.add(vehicle, pose, 0.0)
    return vehicle


def drive(table: Vehicles, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
    """Seconds until `until` holds, or `seconds`."""
    for step in range(round(seconds / DELTA_S)):
        if until():
            return step * DELTA_S
        table.step(DELTA_S)
    return seconds


def speed(vehicle: Vehicle) -> float:
    return math.hypot(vehicle.velocity.x, vehicle.velocity.y)


def test_full_throttle_reaches_100_kmh_in_about_ten_seconds() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.obey(t.VehicleControl(throttle=1.0))
    assert drive(table, 30.0, lambda: speed(vehicle) * 3.6 >= 100.0) == pytest.approx(9.5, abs=2.0)


def test_braking_distance_from_100_kmh_is_that_of_dry_asphalt() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.push(t.Vector3D(100.0 / 3.6, 0.0, 0.0))
    vehicle.obey(t.VehicleControl(brake=1.0))
    drive(table, 10.0, lambda: speed(vehicle) == 0.0)
    expected = (100.0 / 3.6) ** 2 / (2.0 * BRAKE_MAX_MPS2)
    assert vehicle.pose.location.x == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize(("steer", "side"), [(0.2, 1.0), (-0.2, -1.0)])
def test_slow_turn_is_the_circle_of_the_kinematic_bicycle(steer: float, side: float) -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.obey(t.VehicleControl(steer=steer))
    table.hold_velocity(vehicle, t.Vector3D(3.0, 0.0, 0.0))
    rear_radius = WHEELBASE_M / math.tan(abs(steer) * math.radians(STEER_MAX_DEG))
    drive(table, 0.5)
    assert vehicle.angular_velocity.z == pytest.approx(side * math.degrees(3.0 / rear_radius), rel=0.01)


def test_tyres_limit_the_lateral_acceleration() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.push(t.Vector3D(25.0, 0.0, 0.0))
    vehicle.obey(t.VehicleControl(throttle=0.3, steer=1.0))
    drive(table, 1.0)
    assert math.radians(vehicle.angular_velocity.z) * speed(vehicle) <= GRIP_MPS2 * 1.1


def test_nothing_moves_without_throttle() -> None:
    table = Vehicles()
    vehicle = add(table)
    drive(table, 2.0)
    assert (vehicle.pose.location.x, speed(vehicle)) == (0.0, 0.0)


def test_hand_brake_holds_against_the_throttle() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.obey(t.VehicleControl(throttle=1.0, hand_brake=True))
    drive(table, 1.0)
    assert speed(vehicle) == 0.0


def test_vehicle_falls_to_the_ground_and_rights_itself() -> None:
    table = Vehicles()
    vehicle = add(table, z=2.0)
    vehicle.move(t.Transform(t.Vector3D(0.0, 0.0, 2.0), t.Rotation(10.0, 0.0, 20.0)))
    fallen_s = drive(table, 3.0, lambda: vehicle.pose.location.z == 0.0)
    assert fallen_s == pytest.approx(math.sqrt(2.0 * 2.0 / 9.81), abs=0.05)
    assert (vehicle.pose.rotation.pitch, vehicle.pose.rotation.roll) == (0.0, 0.0)


def test_yaw_stays_within_half_a_turn() -> None:
    table = Vehicles()
    vehicle = add(table, yaw=170.0)
    vehicle.obey(t.VehicleControl(throttle=0.5, steer=0.6))
    for _ in range(500):
        table.step(DELTA_S)
        assert -180.0 <= vehicle.pose.rotation.yaw <= 180.0


def test_vehicles_do_not_influence_each_other() -> None:
    alone, together = Vehicles(), Vehicles()
    one = add(alone)
    crowd = [add(together, x=100.0 * k) for k in range(40)]
    for vehicle in (one, *crowd):
        vehicle.obey(t.VehicleControl(throttle=0.8, steer=0.1))
    drive(alone, 2.0)
    drive(together, 2.0)
    assert np.all(together.columns.forward == alone.columns.forward[0])
    assert np.all(together.columns.yaw == alone.columns.yaw[0])


def test_a_removed_vehicle_leaves_the_others_as_they_were() -> None:
    table = Vehicles()
    vehicles = [add(table, x=10.0 * k) for k in range(40)]
    for k, vehicle in enumerate(vehicles):
        vehicle.obey(t.VehicleControl(throttle=k / 40))
    for gone in (vehicles[0], vehicles[20], vehicles[39]):
        table.remove(gone)
    left = [vehicle for k, vehicle in enumerate(vehicles) if k not in (0, 20, 39)]
    drive(table, 0.1)
    assert len(table) == 37
    for vehicle in left:
        assert vehicle.pose.location.x - 10.0 * (vehicle.id - 1) < 1.0
        assert table.records.records["id"][vehicle.row] == vehicle.id
        assert table.records.records["throttle"][vehicle.row] == pytest.approx(vehicle.control.throttle)
