"""All vehicles: their state in columns, moved together, and each one's handle."""

from __future__ import annotations

import struct
from math import cos, radians, sin
from typing import cast

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.standin.dynamics import COLUMNS, Columns, advance
from carlad.standin.records import KINEMATICS_COLUMNS, Segment, vehicle_segment
from carlad.wire import types as t
from carlad.wire.sensors import STATE_OFFSET

SPEED_LIMIT_KMH = 30.0  # where the road states none, as in CARLA
STEER_MAX_DEG = 45.0  # of the front wheels
_GEAR_LENGTH_MPS = 8.0  # speed range of one forward gear of the automatic gearbox
_GEARS = 5
_AUTOMATIC = np.iinfo(np.int32).min  # no gear chosen by hand

_control = struct.Struct("<fff???i")
_speed_limit = struct.Struct("<f")
_SPEED_LIMIT_AT = STATE_OFFSET + _control.size
_column = {name: index for index, name in enumerate(Columns._fields)}
_POSE = slice(_column["x"], _column["roll"] + 1)
_VELOCITY = slice(_column["vx"], _column["vz"] + 1)
_ANGULAR_VELOCITY = slice(_column["wx"], _column["wz"] + 1)
_ACCELERATION = slice(_column["ax"], _column["az"] + 1)
_BODY = slice(_column["forward"], _column["turning"] + 1)
_CONTROLS = slice(_column["throttle"], _column["direction"] + 1)


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
        self.ackermann = t.AckermannControllerSettings()
        self.constant_velocity: t.Vector3D | None = None
        self.road_id: int | None = None
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

    @property
    def simulated(self) -> bool:
        """Whether physics move it."""
        return bool(self._table.columns.moves[self.row])

    def move(self, pose: t.Transform, velocity: t.Vector3D | None = None) -> None:
        place, turn = pose.location, pose.rotation
        self._table.state[_POSE, self.row] = (place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll)
        if velocity is not None:
            self.push(velocity)

    def push(self, velocity: t.Vector3D) -> None:
        """Set the velocity: m/s, world frame."""
        self._table.state[_VELOCITY, self.row] = (velocity.x, velocity.y, velocity.z)
        yaw = radians(self._table.columns.yaw[self.row])
        self._table.columns.forward[self.row] = velocity.x * cos(yaw) + velocity.y * sin(yaw)
        self._table.columns.sideways[self.row] = velocity.y * cos(yaw) - velocity.x * sin(yaw)

    def turn(self, yaw_rate_degps: float) -> None:
        self._table.columns.turning[self.row] = radians(yaw_rate_degps)

    def steer_to(self, control: t.VehicleControl) -> None:
        """Obey a control from the next tick on; values beyond their range are clipped."""
        self.control = control
        self._table.set_control(self, control)

    def simulate(self, enabled: bool) -> None:
        """Let physics move the vehicle, or hold it where it is."""
        self._table.columns.moves[self.row] = 1.0 if enabled else 0.0
        if not enabled:
            self._table.state[_BODY, self.row] = 0.0


class Vehicles:
    """The table of all vehicles.

    `state` is float64 (COLUMNS, capacity); `columns` are its rows, cut to the vehicles there are.
    """

    def __init__(self) -> None:
        self.records: Segment = vehicle_segment()
        self.state: npt.NDArray[np.float64] = np.zeros((COLUMNS, self.records.capacity))
        self.columns = Columns(*self.state[:, :0])
        self.half_length: npt.NDArray[np.float64] = np.zeros(0)
        self._gears: npt.NDArray[np.int32] = np.zeros(self.records.capacity, np.int32)
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
            self._gears = np.pad(self._gears, (0, grown))
        self.state[:, vehicle.row] = 0.0
        self._cut()
        vehicle.move(pose)
        self.columns.wheelbase[vehicle.row] = vehicle.wheelbase_m
        self.columns.steer_max[vehicle.row] = radians(STEER_MAX_DEG)
        self.columns.ground[vehicle.row] = ground_m
        vehicle.simulate(True)
        vehicle.steer_to(vehicle.control)
        self.limit_speed(vehicle, SPEED_LIMIT_KMH)
        self._publish()

    def remove(self, vehicle: Vehicle) -> None:
        row, last = vehicle.row, self.records.count - 1
        self.records.remove(vehicle)
        self.state[:, row] = self.state[:, last]
        self._gears[row] = self._gears[last]
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
        direction = -1.0 if control.reverse else 1.0
        self.state[_CONTROLS, vehicle.row] = (throttle, steer, brake, control.hand_brake, direction)
        self._gears[vehicle.row] = control.gear if control.manual_gear_shift else _AUTOMATIC
        self.records.write(
            vehicle, _control, STATE_OFFSET, throttle, steer, brake,
            control.hand_brake, control.reverse, control.manual_gear_shift, control.gear,
        )  # fmt: skip

    def step(self, delta_s: float) -> None:
        """Move all vehicles on."""
        for vehicle in self._held.values():
            held = vehicle.constant_velocity
            assert held is not None
            self.columns.forward[vehicle.row], self.columns.sideways[vehicle.row] = held.x, held.y
        advance(self.columns, delta_s)
        self._publish()

    def _publish(self) -> None:
        """Copy into the records what a tick changes."""
        n, records = self.records.count, self.records.records
        records["kinematics"][:n] = self.state[:KINEMATICS_COLUMNS, :n].T
        speed = np.abs(self.columns.forward)
        gear = np.minimum(speed / _GEAR_LENGTH_MPS + 1.0, _GEARS) * (speed > 0.1)
        gear = np.where(self.columns.direction < 0.0, np.minimum(-gear, 0.0).clip(-1.0), gear)
        chosen = self._gears[:n]
        records["gear"][:n] = np.where(chosen == _AUTOMATIC, gear, chosen)

    def _cut(self) -> None:
        self.columns = Columns(*self.state[:, : self.records.count])
        self.half_length = np.array([vehicle.bounding_box.extent.x for vehicle in self.all])


def _clip(value: float, lowest: float) -> float:
    return max(lowest, min(1.0, value))
