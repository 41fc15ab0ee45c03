"""The equations of motion, without a server."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from carlad.standin.motion import columns as c
from carlad.standin.motion.physics import STEER_MAX_DEG
from carlad.standin.vehicles import Ground, Vehicle, Vehicles
from carlad.wire import types as t

DELTA_S, SUBSTEPS = 0.05, 5
WHEELBASE_M = 2.85
MPH_60 = 26.82
FLAT = Ground(0.0)
BOX = t.BoundingBox(t.Vector3D(), t.Vector3D(2.4, 1.0, 0.75), t.Rotation())


def add(table: Vehicles, x: float = 0.0, yaw: float = 0.0, z: float = 0.0, ground: Ground = FLAT) -> Vehicle:
    pose = t.Transform(t.Vector3D(x, 0.0, z), t.Rotation(0.0, yaw, 0.0))
    description = t.ActorDescription(1, "vehicle.test", [])
    vehicle = Vehicle(len(table) + 1, description, pose, BOX, 14, WHEELBASE_M, 1700.0, (0, 0, 0), table)
    table.add(vehicle, pose, ground)
    return vehicle


def drive(table: Vehicles, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
    """Seconds until `until` holds, or `seconds`."""
    for step in range(round(seconds / DELTA_S)):
        if until():
            return step * DELTA_S
        table.step(DELTA_S, SUBSTEPS)
    return seconds


def speed(vehicle: Vehicle) -> float:
    return math.hypot(vehicle.velocity.x, vehicle.velocity.y)


# Motor Trend's figures for the car that the model is fitted to, see motion/physics.py.


def test_car_reaches_60_mph_as_fast_as_the_real_one() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.obey(t.VehicleControl(throttle=1.0))
    assert drive(table, 30.0, lambda: speed(vehicle) >= MPH_60) == pytest.approx(6.6, abs=0.4)


def test_car_stops_from_60_mph_where_the_real_one_does() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.push(t.Vector3D(MPH_60, 0.0, 0.0))
    vehicle.obey(t.VehicleControl(brake=1.0))
    drive(table, 10.0, lambda: speed(vehicle) == 0.0)
    assert vehicle.pose.location.x == pytest.approx(106 * 0.3048, rel=0.05)


def test_tyres_hold_in_a_curve_what_carla_s_traffic_manager_asks_of_them_and_no_more() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.push(t.Vector3D(18.0, 0.0, 0.0))
    most = 0.0
    for steer in np.linspace(0.0, 0.5, 200).tolist():
        vehicle.obey(t.VehicleControl(throttle=0.3, steer=steer))
        table.step(DELTA_S, SUBSTEPS)
        most = max(most, math.radians(vehicle.angular_velocity.z) * speed(vehicle))
    assert 1.5 * 9.81 < most < 2.0 * 9.81


def test_turning_circle_is_that_of_a_saloon() -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.obey(t.VehicleControl(steer=1.0))
    vehicle.hold_velocity(t.Vector3D(1.0, 0.0, 0.0))
    drive(table, 2.0)
    rear_axle_m = float(vehicle.state[c.FORWARD] / vehicle.state[c.TURNING])
    outer_front_wheel_m = math.hypot(rear_axle_m + 0.8, WHEELBASE_M)
    assert 2.0 * outer_front_wheel_m == pytest.approx(11.2, abs=0.5)


@pytest.mark.parametrize(("steer", "side"), [(0.2, 1.0), (-0.2, -1.0)])
def test_slow_turn_is_the_circle_of_the_kinematic_bicycle(steer: float, side: float) -> None:
    table = Vehicles()
    vehicle = add(table)
    vehicle.obey(t.VehicleControl(steer=steer))
    vehicle.hold_velocity(t.Vector3D(3.0, 0.0, 0.0))
    inner_m = WHEELBASE_M / math.tan(abs(steer) * math.radians(STEER_MAX_DEG))
    rear_m = inner_m + float(vehicle.car[c.TRACK]) * WHEELBASE_M
    drive(table, 0.5)
    assert vehicle.angular_velocity.z == pytest.approx(side * math.degrees(3.0 / rear_m), rel=0.01)


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
        table.step(DELTA_S, SUBSTEPS)
        assert -180.0 <= vehicle.pose.rotation.yaw <= 180.0


def test_vehicles_do_not_influence_each_other() -> None:
    alone, together = Vehicles(), Vehicles()
    one = add(alone)
    crowd = [add(together, x=100.0 * k) for k in range(40)]
    for vehicle in (one, *crowd):
        vehicle.obey(t.VehicleControl(throttle=0.8, steer=0.1))
    drive(alone, 2.0)
    drive(together, 2.0)
    assert np.all(together.state[:40, c.FORWARD] == alone.state[0, c.FORWARD])
    assert np.all(together.state[:40, c.YAW] == alone.state[0, c.YAW])


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
