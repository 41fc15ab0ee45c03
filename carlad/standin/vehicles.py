"""All vehicles: their state in columns, moved together, and each one's handle."""

from __future__ import annotations

import struct
from math import cos, inf, radians, sin, tan
from typing import cast

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.standin.dynamics import (
    BRAKE_MAX_MPS2,
    COLUMNS,
    ENGINE_BRAKE_MPS2,
    GRAVITY_MPS2,
    ROLLING_MPS2,
    Columns,
    advance,
)
from carlad.standin.records import KINEMATICS_COLUMNS, Segment, vehicle_segment
from carlad.wire import types as t
from carlad.wire.sensors import STATE_OFFSET

SPEED_LIMIT_KMH = 30.0  # where the road states none, as in CARLA
# Of the front wheels: a passenger car's lock. The Traffic Manager keeps closest to its lane with it: in
# curves at most 0.5 m off, against 0.6 with 45 and 0.9 with 30 or 60 degrees.
STEER_MAX_DEG = 35.0
_GEAR_LENGTH_MPS = 8.0  # speed range of one forward gear of the automatic gearbox
_GEARS = 5
_REVERSE_GEAR = -1

_control = struct.Struct("<fff???i")
_speed_limit = struct.Struct("<f")
_SPEED_LIMIT_AT = STATE_OFFSET + _control.size
_column = {name: index for index, name in enumerate(Columns._fields)}
PLACE = slice(_column["x"], _column["y"] + 1)  # rows of the state: where vehicles are in the ground plane
HEADING = slice(_column["cosine"], _column["sine"] + 1)
_POSE = slice(_column["x"], _column["roll"] + 1)
_VELOCITY = slice(_column["vx"], _column["vz"] + 1)
_ANGULAR_VELOCITY = slice(_column["wx"], _column["wz"] + 1)
_ACCELERATION = slice(_column["ax"], _column["az"] + 1)
_BODY = slice(_column["forward"], _column["turning"] + 1)
_CONTROLS = slice(_column["drive"], _column["curvature"] + 1)


class Vehicle(Actor):
    """One vehicle. Its state is in the table's columns, at `row`, for as long as it lives."""

    def __init__(
        self, id: int, description: t.ActorDescription, pose: t.Transform, box: t.BoundingBox,
        semantic_tag: int, wheelbase_m: float, mass_kg: float, color: tuple[int, int, int], table: Vehicles,
    ) -> None:  # fmt: skip
        super().__init__(id, description, pose, box, semantic_tag)
        self.wheelbase_m = wheelbase_m
        self.mass_kg = mass_kg
        self.color = color
        self.lights = 0
        self.control = t.VehicleControl()
        self.constant_velocity: t.Vector3D | None = None
        self.simulated = True  # whether physics move it
        self.cell: tuple[int, int] | None = None  # of the ground, where it was last looked at
        self._ground_m = 0.0
        self._table = table

    @property
    def pose(self) -> t.Transform:
        x, y, z, pitch, yaw, roll = self._table.state[_POSE, self.row].tolist()
        return t.Transform(t.Vector3D(x, y, z), t.Rotation(pitch, yaw, roll))

    @property
    def velocity(self) -> t.Vector3D:
        return t.Vector3D(*self._table.state[_VELOCITY, self.row].tolist())

    @property
    def angular_velocity(self) -> t.Vector3D:
        return t.Vector3D(*self._table.state[_ANGULAR_VELOCITY, self.row].tolist())

    @property
    def acceleration(self) -> t.Vector3D:
        return t.Vector3D(*self._table.state[_ACCELERATION, self.row].tolist())

    def move(self, pose: t.Transform, velocity: t.Vector3D | None = None) -> None:
        place, turn = pose.location, pose.rotation
        self._table.state[_POSE, self.row] = (place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll)
        yaw = radians(turn.yaw)
        self._table.state[HEADING, self.row] = (cos(yaw), sin(yaw))
        if velocity is not None:
            self.push(velocity)

    def push(self, velocity: t.Vector3D) -> None:
        """Set the velocity: m/s, world frame. Without physics it is only reported."""
        self._table.state[_VELOCITY, self.row] = (velocity.x, velocity.y, velocity.z)
        if self.simulated:
            yaw = radians(self._table.columns.yaw[self.row])
            self._table.columns.forward[self.row] = velocity.x * cos(yaw) + velocity.y * sin(yaw)
            self._table.columns.sideways[self.row] = velocity.y * cos(yaw) - velocity.x * sin(yaw)

    def turn(self, yaw_rate_degps: float) -> None:
        if self.simulated:
            self._table.columns.turning[self.row] = radians(yaw_rate_degps)

    def obey(self, control: t.VehicleControl) -> None:
        """Drive as told from the next tick on; values beyond their range are clipped."""
        self.control = control
        self._table.set_control(self, control)

    def simulate(self, enabled: bool) -> None:
        """Let physics move the vehicle, or hold it where it is."""
        self.simulated = enabled
        self._table.state[_BODY, self.row] = 0.0
        columns = self._table.columns
        columns.gravity[self.row] = GRAVITY_MPS2 if enabled else 0.0
        columns.tilt[self.row] = 0.0 if enabled else 1.0
        self.stand_on(self._ground_m)
        self.obey(self.control)

    def stand_on(self, ground_m: float) -> None:
        """The ground below is at this height, m."""
        self._ground_m = ground_m
        self._table.columns.floor[self.row] = ground_m if self.simulated else -inf


class Vehicles:
    """The table of all vehicles.

    `state` is float64 (COLUMNS, capacity); `columns` are its rows, cut to the vehicles there are.
    """

    def __init__(self) -> None:
        self.records: Segment = vehicle_segment()
        self.state: npt.NDArray[np.float64] = np.zeros((COLUMNS, self.records.capacity))
        self.columns = Columns(*self.state[:, :0])
        self.half_length: npt.NDArray[np.float64] = np.zeros(0)
        # float64 (2, capacity): lowest and highest gear that may be shown.
        self._gears: npt.NDArray[np.float64] = np.zeros((2, self.records.capacity))
        self._held: dict[int, Vehicle] = {}  # those with a constant velocity, by id

    def __len__(self) -> int:
        return self.records.count

    @property
    def all(self) -> list[Vehicle]:
        return cast("list[Vehicle]", self.records.actors)

    def add(self, vehicle: Vehicle, pose: t.Transform, ground_m: float) -> None:
        self.records.add(vehicle)
        if self.records.capacity > self.state.shape[1]:
            grown = self.records.capacity - self.state.shape[1]
            self.state = np.pad(self.state, ((0, 0), (0, grown)))
            self._gears = np.pad(self._gears, ((0, 0), (0, grown)))
        self.state[:, vehicle.row] = 0.0
        self._cut()
        vehicle.move(pose)
        self.columns.half_base[vehicle.row] = 0.5 * vehicle.wheelbase_m
        vehicle.stand_on(ground_m)
        vehicle.simulate(True)
        self.limit_speed(vehicle, SPEED_LIMIT_KMH)
        self.publish()

    def remove(self, vehicle: Vehicle) -> None:
        row, last = vehicle.row, self.records.count - 1
        self.records.remove(vehicle)
        self.state[:, row] = self.state[:, last]
        self._gears[:, row] = self._gears[:, last]
        self._held.pop(vehicle.id, None)
        self._cut()

    def limit_speed(self, vehicle: Vehicle, limit_kmh: float) -> None:
        """Tell the client which limit applies where the vehicle is."""
        self.records.write(vehicle, _speed_limit, _SPEED_LIMIT_AT, limit_kmh)

    def hold_velocity(self, vehicle: Vehicle, velocity: t.Vector3D | None) -> None:
        """Keep a velocity (m/s, the vehicle's frame) whatever the controls say; None ends it."""
        vehicle.constant_velocity = velocity
        if velocity is None:
            self._held.pop(vehicle.id, None)
        else:
            self._held[vehicle.id] = vehicle

    def set_control(self, vehicle: Vehicle, control: t.VehicleControl) -> None:
        throttle, brake = _clip(control.throttle, 0.0), _clip(control.brake, 0.0)
        steer = _clip(control.steer, -1.0)
        self.records.write(
            vehicle, _control, STATE_OFFSET, throttle, steer, brake,
            control.hand_brake, control.reverse, control.manual_gear_shift, control.gear,
        )  # fmt: skip
        self._gears[:, vehicle.row] = _gear_range(control)
        if not vehicle.simulated:
            self.state[_CONTROLS, vehicle.row] = 0.0
            return
        drive = 0.0 if control.hand_brake else -throttle if control.reverse else throttle
        resistance = BRAKE_MAX_MPS2 * max(brake, float(control.hand_brake)) + ROLLING_MPS2
        resistance += ENGINE_BRAKE_MPS2 if throttle == 0.0 else 0.0
        curvature = tan(steer * radians(STEER_MAX_DEG)) / vehicle.wheelbase_m
        self.state[_CONTROLS, vehicle.row] = (drive, resistance, curvature)

    def step(self, delta_s: float) -> None:
        """Move all vehicles on; `publish` brings the records up to date."""
        for vehicle in self._held.values():
            held = vehicle.constant_velocity
            if held is not None and vehicle.simulated:
                self.columns.forward[vehicle.row], self.columns.sideways[vehicle.row] = held.x, held.y
        advance(self.columns, delta_s)

    def publish(self) -> None:
        """Copy into the records what a tick changes."""
        n, records = self.records.count, self.records.records
        records["kinematics"][:n] = self.state[:KINEMATICS_COLUMNS, :n].T
        lowest, highest = self._gears[:, :n]
        gear = np.ceil(np.abs(self.columns.forward) / _GEAR_LENGTH_MPS)
        records["gear"][:n] = np.minimum(np.maximum(gear, lowest), highest)

    def _cut(self) -> None:
        self.columns = Columns(*self.state[:, : self.records.count])
        self.half_length = np.array([vehicle.bounding_box.extent.x for vehicle in self.all])


def _clip(value: float, lowest: float) -> float:
    return max(lowest, min(1.0, value))


def _gear_range(control: t.VehicleControl) -> tuple[int, int]:
    """Lowest and highest gear that the gearbox may be in: chosen by hand, reverse, or automatic."""
    if control.manual_gear_shift:
        return control.gear, control.gear
    return (_REVERSE_GEAR, _REVERSE_GEAR) if control.reverse else (0, _GEARS)
