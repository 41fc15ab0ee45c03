"""All vehicles: their state in tables, moved together, and each one's handle."""

from __future__ import annotations

import struct
from math import atan, cos, degrees, radians, sin, tan
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.standin.motion import columns as c
from carlad.standin.motion import physics
from carlad.standin.motion.ackermann import AckermannController
from carlad.standin.motion.kernels import kernels, make_ready
from carlad.standin.records import VEHICLE_COLUMNS, Segment, vehicle_segment
from carlad.standin.traffic_lights import TrafficLights
from carlad.wire import types as t
from carlad.wire.sensors import STATE_OFFSET

SPEED_LIMIT_KMH = 30.0  # where the road states none, as in CARLA
GRAVITY_MPS2 = 9.81

_control = struct.Struct("<fff???i")
_speed_limit = struct.Struct("<f")
_SPEED_LIMIT_AT = STATE_OFFSET + _control.size
_POSE = slice(c.X, c.ROLL + 1)
_VELOCITY = slice(c.VX, c.VZ + 1)
_ANGULAR_VELOCITY = slice(c.WX, c.WZ + 1)
_ACCELERATION = slice(c.AX, c.AZ + 1)
_BODY_VELOCITY = slice(c.FORWARD, c.TURNING + 1)
_FORCE = slice(c.FORCE_X, c.FORCE_Z + 1)
_CONTROLS = slice(c.THROTTLE, c.GEAR_ASKED + 1)
_HELD = slice(c.HELD, c.HELD_Y + 1)
_GROUND = slice(c.GROUND, c.SLOPE_Y + 1)

Table = npt.NDArray[np.float64]


class Ground(NamedTuple):
    """A plane: height = `height` + `slope_x` * x + `slope_y` * y, metres."""

    height: float
    slope_x: float = 0.0
    slope_y: float = 0.0

    def at(self, x: float, y: float) -> float:
        return self.height + self.slope_x * x + self.slope_y * y


class Vehicle(Actor):
    """One vehicle. Its state is in the tables, at `row`, for as long as it lives."""

    def __init__(
        self, id: int, description: t.ActorDescription, pose: t.Transform, box: t.BoundingBox,
        semantic_tag: int, wheelbase_m: float, mass_kg: float, color: tuple[int, int, int], table: Vehicles,
    ) -> None:  # fmt: skip
        super().__init__(id, description, pose, box, semantic_tag)
        self.chassis = physics.Chassis(wheelbase_m, box.extent.y, box.extent.z)
        self.color = color
        self.lights = 0
        self.doors = 0  # bits by carla.VehicleDoor: those that are open
        self.wheel_angles: dict[int, float] = {}  # degrees, where a client has set the wheel's look
        self.wheel_pitches: dict[int, float] = {}
        self.control = t.VehicleControl()
        self.ackermann = AckermannController()
        self.autopilot = False
        self.sticky = self.values.get("sticky_control", "true") == "true"
        self.told = False  # how to drive, since the last tick
        self.simulated = True  # whether physics move it
        self.ground: Ground | None = None
        self.limit_kmh = 0.0  # of the road
        self._physics = physics.default_control(semantic_tag, mass_kg, self.chassis)
        self._table = table

    @property
    def state(self) -> Table:
        """Its row of the state, see motion/columns.py: float64 (STATE,)."""
        row: Table = self._table.state[self.row]
        return row

    @property
    def car(self) -> Table:
        """Its row of what its physics control says: float64 (CAR,)."""
        row: Table = self._table.car[self.row]
        return row

    @property
    def mass_kg(self) -> float:
        return self._physics.mass

    @property
    def pose(self) -> t.Transform:
        x, y, z, pitch, yaw, roll = self.state[_POSE].tolist()
        return t.Transform(t.Vector3D(x, y, z), t.Rotation(pitch, yaw, roll))

    @property
    def velocity(self) -> t.Vector3D:
        return t.Vector3D(*self.state[_VELOCITY].tolist())

    @property
    def angular_velocity(self) -> t.Vector3D:
        return t.Vector3D(*self.state[_ANGULAR_VELOCITY].tolist())

    @property
    def acceleration(self) -> t.Vector3D:
        return t.Vector3D(*self.state[_ACCELERATION].tolist())

    @property
    def collides(self) -> bool:
        return bool(self._table.bodies[self.row, -1]) if self.row >= 0 else True

    @collides.setter
    def collides(self, collides: bool) -> None:
        if self.row >= 0:
            self._table.bodies[self.row, -1] = collides

    @property
    def physics_control(self) -> t.VehiclePhysicsControl:
        """As it was applied, with the wheels where they are now."""
        return physics.with_positions(self._physics, self.pose, self.chassis)

    def wheel_angle(self, wheel: int) -> float:
        """Degrees to the right: front left, front right, back left, back right; 0 where there is none."""
        if wheel in self.wheel_angles:
            return self.wheel_angles[wheel]
        if wheel not in (0, 1):
            return 0.0
        middle, track = tan(self.state[c.STEERED]), self.car[c.TRACK]
        return degrees(atan(middle / (1.0 + (track if wheel == 0 else -track) * middle)))

    def apply_physics_control(self, control: t.VehiclePhysicsControl) -> None:
        """Raises CallError for one that no car could have."""
        physics.check(control)
        self._physics = control
        self._table.car[self.row] = physics.car_row(control, self.chassis)
        self.state[c.GEAR] = min(self.state[c.GEAR], len(control.forward_gears))

    def move(self, pose: t.Transform, velocity: t.Vector3D | None = None) -> None:
        place, turn = pose.location, pose.rotation
        state, yaw = self.state, radians(turn.yaw)
        state[_POSE] = (place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll)
        state[c.HEADING_X], state[c.HEADING_Y] = cos(yaw), sin(yaw)
        # As CARLA's teleport of a physics body: it goes on in the direction in which it went.
        self.push(self.velocity if velocity is None else velocity)

    def push(self, velocity: t.Vector3D) -> None:
        """Set the velocity: m/s, world frame. Without physics it is only reported."""
        state = self.state
        state[_VELOCITY] = (velocity.x, velocity.y, velocity.z)
        if self.simulated:
            cosine, sine = state[c.HEADING_X], state[c.HEADING_Y]
            state[c.FORWARD] = velocity.x * cosine + velocity.y * sine
            state[c.SIDEWAYS] = velocity.y * cosine - velocity.x * sine

    def turn(self, yaw_rate_degps: float) -> None:
        """Set the turn about the vertical axis."""
        if self.simulated:
            self.state[c.TURNING] = radians(yaw_rate_degps)

    def strike(self, impulse: t.Vector3D) -> None:
        """Change the velocity by an impulse at the middle: N s, world frame."""
        if self.simulated:
            now, mass = self.velocity, self.mass_kg
            self.push(
                t.Vector3D(now.x + impulse.x / mass, now.y + impulse.y / mass, now.z + impulse.z / mass)
            )

    def spin(self, impulse: float) -> None:
        """Change the turn by an angular impulse about the vertical axis: N m s."""
        if self.simulated:
            self.state[c.TURNING] += impulse / self.car[c.INERTIA]

    def press(self, force: t.Vector3D) -> None:
        """Add to the force during the next tick: N, world frame, at the middle."""
        self.state[_FORCE] += (force.x, force.y, force.z)

    def twist(self, torque: float) -> None:
        """Add to the torque about the vertical axis during the next tick: N m."""
        self.state[c.TORQUE] += torque

    def obey(self, control: t.VehicleControl) -> None:
        """Drive as told from the next tick on; values beyond their range are clipped."""
        self.ackermann.active = False
        self.told = True
        self._table.mind(self)
        self._table.set_control(self, control)

    def aim(self, target: t.VehicleAckermannControl) -> None:
        """Have the Ackermann controller drive from the next tick on."""
        self.ackermann.aim(target)
        self._table.mind(self)

    def release(self, autopilot: bool) -> None:
        """Let go of wheel and pedals. With `autopilot` on even a control that does not stick stays."""
        self.autopilot = autopilot
        now = self.control
        self._table.set_control(
            self, t.VehicleControl(manual_gear_shift=now.manual_gear_shift, gear=now.gear)
        )

    def hold_velocity(self, velocity: t.Vector3D | None) -> None:
        """Keep a velocity (m/s, the vehicle's frame) whatever the controls say; None ends it."""
        self.state[_HELD] = (0.0, 0.0, 0.0) if velocity is None else (1.0, velocity.x, velocity.y)

    def simulate(self, enabled: bool) -> None:
        """Let physics move the vehicle, or hold it where it is."""
        self.simulated = enabled
        self.state[_BODY_VELOCITY] = 0.0
        self.state[c.SIMULATED] = enabled

    def fall(self, enabled: bool) -> None:
        """Let gravity work, or not."""
        self.state[c.GRAVITY] = GRAVITY_MPS2 if enabled else 0.0

    def stand_on(self, ground: Ground) -> None:
        """What is below."""
        if ground != self.ground:
            self.ground = ground
            self.state[_GROUND] = ground


class Vehicles:
    """The tables of all vehicles, one row each: `state` float64 (capacity, STATE), `car` (capacity, CAR),
    and `bodies` (capacity, BODY), see motion/.
    """

    def __init__(self) -> None:
        self.records: Segment = vehicle_segment()
        self.state: Table = np.zeros((self.records.capacity, c.STATE))
        self.car: Table = np.zeros((self.records.capacity, c.CAR))
        self.bodies: Table = np.zeros((self.records.capacity, 7))
        self._columns = self.records.columns(*VEHICLE_COLUMNS)
        self._unsteady: set[Vehicle] = set()  # whose controls change without a call

    def __len__(self) -> int:
        return self.records.count

    @property
    def all(self) -> list[Vehicle]:
        return cast("list[Vehicle]", self.records.actors)

    def add(self, vehicle: Vehicle, pose: t.Transform, ground: Ground) -> None:
        make_ready()  # not during a tick
        self.records.add(vehicle)
        grown = self.records.capacity - len(self.state)
        if grown > 0:
            self.state, self.car, self.bodies = (
                np.pad(table, ((0, grown), (0, 0))) for table in (self.state, self.car, self.bodies)
            )
            self._columns = self.records.columns(*VEHICLE_COLUMNS)
        box = vehicle.bounding_box
        self.state[vehicle.row] = 0.0
        self.bodies[vehicle.row] = (
            box.location.x, box.location.y, box.location.z, box.extent.x, box.extent.y, box.extent.z, 1.0,
        )  # fmt: skip
        self.car[vehicle.row] = physics.car_row(vehicle.physics_control, vehicle.chassis)
        vehicle.move(pose)
        vehicle.stand_on(ground)
        vehicle.fall(True)
        vehicle.simulate(True)
        self.limit_speed(vehicle, SPEED_LIMIT_KMH)
        self.records.place(vehicle)
        self.mind(vehicle)

    def remove(self, vehicle: Vehicle) -> None:
        self._unsteady.discard(vehicle)
        row, last = vehicle.row, self.records.count - 1
        self.records.remove(vehicle)
        for table in (self.state, self.car, self.bodies):
            table[row] = table[last]

    def mind(self, vehicle: Vehicle) -> None:
        """Look after the controls of a vehicle in each tick, where they do not just stay."""
        if vehicle.ackermann.active or not vehicle.sticky:
            self._unsteady.add(vehicle)
        else:
            self._unsteady.discard(vehicle)

    def limit_speed(self, vehicle: Vehicle, limit_kmh: float) -> None:
        """Tell the client which limit applies where the vehicle is."""
        if limit_kmh == vehicle.limit_kmh:
            return
        vehicle.limit_kmh = limit_kmh
        self.records.write(vehicle, _speed_limit, _SPEED_LIMIT_AT, limit_kmh)

    def set_control(self, vehicle: Vehicle, control: t.VehicleControl) -> None:
        vehicle.control = control
        throttle, brake = _clip(control.throttle, 0.0), _clip(control.brake, 0.0)
        steer = _clip(control.steer, -1.0)
        self.records.write(
            vehicle, _control, STATE_OFFSET, throttle, steer, brake,
            control.hand_brake, control.reverse, control.manual_gear_shift, control.gear,
        )  # fmt: skip
        self.state[vehicle.row, _CONTROLS] = (
            throttle, brake, steer, control.hand_brake, control.reverse,
            control.manual_gear_shift, control.gear,
        )  # fmt: skip

    def step(self, delta_s: float, substeps: int) -> None:
        """Move all vehicles on by `delta_s` in equal parts; `publish` brings the records up to date."""
        for vehicle in self._unsteady:
            if vehicle.ackermann.active:
                self._drive(vehicle, delta_s)
            elif not vehicle.autopilot:
                self._relax(vehicle)
        kernels().advance(self.state, self.car, len(self), delta_s, substeps)

    def publish(self, lights: TrafficLights, delta_s: float) -> None:
        """Copy into the records what a tick of `delta_s` seconds changes."""
        kernels().publish(
            self.state, self.bodies, len(self), lights.stop_boxes, lights.columns, self._columns, delta_s
        )

    def _relax(self, vehicle: Vehicle) -> None:
        """Have a control that does not stick work for one tick only."""
        if not vehicle.told:
            self.set_control(vehicle, t.VehicleControl())
        vehicle.told = False

    def _drive(self, vehicle: Vehicle, delta_s: float) -> None:
        """Have the Ackermann controller work the pedals."""
        speed_mps, steer_max = float(vehicle.state[c.FORWARD]), float(vehicle.car[c.STEER_MAX])
        control = vehicle.ackermann.run(speed_mps, steer_max, delta_s)
        self.set_control(vehicle, control)


def _clip(value: float, lowest: float) -> float:
    return max(lowest, min(1.0, value))
