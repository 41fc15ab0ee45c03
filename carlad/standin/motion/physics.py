"""Physics controls: what each vehicle has by default, and what the model makes of one.

Passenger cars are fitted to a 2013 Lincoln MKZ 2.0 AWD: 240 hp at 5,500/min, 270 lb ft at 3,000/min, six
gears, wheelbase 112.2 in (its data sheet); 0 to 60 mph in 6.6 s, 60 to 0 mph in 106 ft (Motor Trend's first
test, on summer tyres). The steering lock gives a turning circle of 11 m, as is usual for such a wheelbase. In
curves the tyres hold as CARLA's do, which is more, see model.py. Engines and brakes of other vehicles are
scaled by mass; trucks, buses and bicycles have less power for it. CARLA's own figures for each vehicle are
not public.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import radians

import numpy as np
import numpy.typing as npt

from carlad.standin.errors import require_finite
from carlad.standin.geometry import point
from carlad.standin.motion import columns as c
from carlad.wire import types as t
from carlad.wire.errors import CallError
from carlad.wire.types import CityObjectLabel

# Of the inner front wheel: a passenger car's lock. The Traffic Manager, tuned for CARLA's cars, keeps closest
# to its lane with it: in curves 0.4 m off at most, against 0.7 with 35 or 70 degrees.
STEER_MAX_DEG = 42.0
_STIFFNESS = 25.0  # cornering stiffness by load, 1/rad: summer tyres
_CM = 100.0
_MASS_KG = 1690.0  # of the car that the engine belongs to
_TORQUE_NM = (
    (0.0, 170.0),
    (1500.0, 280.0),
    (3000.0, 366.0),
    (4500.0, 345.0),
    (5500.0, 311.0),
    (6500.0, 220.0),
)
_GEARS = (4.48, 2.87, 1.84, 1.41, 1.0, 0.74)
_FINAL_RATIO = 3.07
_SHIFT_DOWN, _SHIFT_UP = 0.3, 0.85  # of the highest engine speed; a shift up leaves more than the first
_POWER = {  # for its mass, against a passenger car
    CityObjectLabel.TRUCK: 0.5,
    CityObjectLabel.BUS: 0.4,
    CityObjectLabel.BICYCLE: 0.15,
}
_RADIUS_CM = {CityObjectLabel.TRUCK: 45.0, CityObjectLabel.BUS: 48.0}
_CAR_RADIUS_CM = 33.0
_TRACK = 0.85  # of half the body's width: where the wheels' middles are
_BRAKE_MPS2, _HAND_BRAKE_MPS2 = 12.0, 7.0  # what the brakes could do if the tyres held
_FRICTION = 3.5  # of a wheel by default, and with it:
_GRIP = 1.16  # the friction coefficient that stops the car in the distance above
_GRIP_MIN = 1e-6  # a wheel without friction holds nothing, and the model divides by it
_FRONTAL = 0.85  # of the bounding box: what air meets
_AIR_KG_PER_M3 = 1.2
_STEERING_KMH_MIN = 1.0


@dataclass(frozen=True)
class Chassis:
    """What a physics control does not say: wheelbase and body (m)."""

    wheelbase_m: float
    half_width_m: float
    half_height_m: float


def default_control(tag: int, mass_kg: float, chassis: Chassis) -> t.VehiclePhysicsControl:
    """The physics of a vehicle as it is spawned; `tag` is its semantic label."""
    label = CityObjectLabel(tag)
    size, radius_cm = mass_kg / _MASS_KG, _RADIUS_CM.get(label, _CAR_RADIUS_CM)
    torque = size * _POWER.get(label, 1.0) * radius_cm / _CAR_RADIUS_CM
    return t.VehiclePhysicsControl(
        torque_curve=[t.Vector2D(rpm, nm * torque) for rpm, nm in _TORQUE_NM],
        max_rpm=_TORQUE_NM[-1][0],
        moi=0.2 * size,
        damping_rate_full_throttle=0.05 * size,
        damping_rate_zero_throttle_clutch_engaged=0.2 * size,
        damping_rate_zero_throttle_clutch_disengaged=0.1 * size,
        use_gear_autobox=True,
        gear_switch_time=0.2,
        clutch_strength=10.0,
        final_ratio=_FINAL_RATIO,
        forward_gears=[t.GearPhysicsControl(ratio, _SHIFT_DOWN, _SHIFT_UP) for ratio in _GEARS],
        mass=mass_kg,
        drag_coefficient=0.3,
        center_of_mass=t.Vector3D(0.0, 0.0, -0.3),
        steering_curve=[t.Vector2D(0.0, 1.0), t.Vector2D(120.0, 1.0)],
        wheels=[_wheel(mass_kg, radius_cm, front) for front in (True, True, False, False)],
        use_sweep_wheel_collision=True,
    )


def _wheel(mass_kg: float, radius_cm: float, front: bool) -> t.WheelPhysicsControl:
    a_quarter = 0.25 * mass_kg * radius_cm / _CM
    return t.WheelPhysicsControl(
        tire_friction=_FRICTION,
        damping_rate=0.25,
        max_steer_angle=STEER_MAX_DEG if front else 0.0,
        radius=radius_cm,
        max_brake_torque=a_quarter * _BRAKE_MPS2,
        max_handbrake_torque=0.0 if front else 2.0 * a_quarter * _HAND_BRAKE_MPS2,
        lat_stiff_max_load=2.0,
        lat_stiff_value=_STIFFNESS,
        long_stiff_value=1000.0,
        position=t.Vector3D(),
    )


def with_positions(
    control: t.VehiclePhysicsControl, pose: t.Transform, chassis: Chassis
) -> t.VehiclePhysicsControl:
    """`control` with its wheels where they are: their middles in the world, centimetres."""
    half_base, half_track = 0.5 * chassis.wheelbase_m, _TRACK * chassis.half_width_m
    corners = (
        (half_base, -half_track),
        (half_base, half_track),
        (-half_base, -half_track),
        (-half_base, half_track),
    )
    for wheel, (x, y) in zip(control.wheels, corners, strict=True):
        middle = point(pose, t.Vector3D(x, y, wheel.radius / _CM))
        wheel.position = t.Vector3D(middle.x * _CM, middle.y * _CM, middle.z * _CM)
    return control


def check(control: t.VehiclePhysicsControl) -> None:
    """Raises CallError for a control that no car could have."""
    curves = [*control.torque_curve, *control.steering_curve]
    require_finite("a physics control", *(number for p in curves for number in (p.x, p.y)))
    plain = (value for value in _numbers(control) if isinstance(value, (int, float)))
    require_finite("a physics control", *plain, control.center_of_mass.x)
    if len(control.wheels) != 4:
        raise CallError(f"cannot use a physics control: it has {len(control.wheels)} wheels, not 4")
    if len(control.forward_gears) not in range(1, c.GEARS_MAX + 1):
        gears = len(control.forward_gears)
        raise CallError(f"cannot use a physics control: it has {gears} gears, not 1 to {c.GEARS_MAX}")
    if not control.torque_curve or not control.steering_curve:
        raise CallError("cannot use a physics control: a curve has no point")
    if min(control.mass, control.max_rpm, *(wheel.radius for wheel in control.wheels)) <= 0.0:
        raise CallError("cannot use a physics control: mass, max_rpm and radius must be above 0")


def _numbers(control: t.VehiclePhysicsControl) -> list[object]:
    parts = (control, *control.wheels, *control.forward_gears)
    return [getattr(part, name) for part in parts for name in part.__struct_fields__]


def car_row(control: t.VehiclePhysicsControl, chassis: Chassis) -> npt.NDArray[np.float64]:
    """What the model needs to know of a control that `check` has passed: float64 (CAR,)."""
    row = np.zeros(c.CAR)
    wheels, gears = control.wheels, control.forward_gears
    half_base = 0.5 * chassis.wheelbase_m
    ahead = max(-0.8, min(0.8, control.center_of_mass.x / half_base)) * half_base
    radius_m = sum(wheel.radius for wheel in wheels) / (4.0 * _CM)
    friction = sum(wheel.tire_friction for wheel in wheels) / 4.0
    row[c.MASS], row[c.INERTIA] = control.mass, control.mass * half_base * half_base
    row[c.FRONT_M], row[c.REAR_M] = half_base - ahead, half_base + ahead
    row[c.STEER_MAX] = radians(min(max(wheel.max_steer_angle for wheel in wheels), 80.0))
    row[c.TRACK] = _TRACK * chassis.half_width_m / chassis.wheelbase_m
    row[c.WHEEL_M] = radius_m
    row[c.BRAKE_MAX_N] = max(0.0, sum(wheel.max_brake_torque for wheel in wheels)) / radius_m
    row[c.HAND_BRAKE_MAX_N] = max(0.0, sum(wheel.max_handbrake_torque for wheel in wheels)) / radius_m
    row[c.GRIP] = max(_GRIP_MIN, friction / _FRICTION * _GRIP)
    row[c.STIFFNESS] = max(1.0, sum(wheel.lat_stiff_value for wheel in wheels) / 4.0)
    area_m2 = _FRONTAL * 4.0 * chassis.half_width_m * chassis.half_height_m
    row[c.DRAG] = 0.5 * _AIR_KG_PER_M3 * max(0.0, control.drag_coefficient) * area_m2
    row[c.RPM_MAX], row[c.ENGINE_INERTIA] = control.max_rpm, max(0.0, control.moi)
    row[c.DAMPING_FULL] = max(0.0, control.damping_rate_full_throttle)
    row[c.DAMPING_CLOSED] = max(0.0, control.damping_rate_zero_throttle_clutch_engaged)
    row[c.SHIFT_S], row[c.FINAL_RATIO] = max(0.0, control.gear_switch_time), control.final_ratio
    row[c.GEARS], row[c.AUTOMATIC] = len(gears), float(control.use_gear_autobox)
    row[c.RATIO : c.RATIO + len(gears)] = [gear.ratio for gear in gears]
    row[c.SHIFT_DOWN : c.SHIFT_DOWN + len(gears)] = [gear.down_ratio for gear in gears]
    row[c.SHIFT_UP : c.SHIFT_UP + len(gears)] = [gear.up_ratio for gear in gears]
    row[c.TORQUE_CURVE : c.TORQUE_CURVE + c.CURVE] = _sampled(control.torque_curve, control.max_rpm)
    row[c.STEERING_KMH] = max(_STEERING_KMH_MIN, control.steering_curve[-1].x)
    row[c.STEERING_CURVE : c.STEERING_CURVE + c.CURVE] = _sampled(control.steering_curve, row[c.STEERING_KMH])
    return row


def _sampled(curve: list[t.Vector2D], last: float) -> npt.NDArray[np.float64]:
    """Values at CURVE evenly spaced points from 0 to `last`."""
    return np.interp(np.linspace(0.0, last, c.CURVE), [p.x for p in curve], [p.y for p in curve])
