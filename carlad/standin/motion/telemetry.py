"""What a vehicle's telemetry says of the model's last substep."""

from __future__ import annotations

from math import atan2, cos, sin

import numpy as np
import numpy.typing as npt

from carlad.standin.motion import columns as c
from carlad.wire import types as t

_GRAVITY_MPS2 = 9.81
_STANDING_MPS = 0.5  # below it slip angles mean nothing

Row = npt.NDArray[np.float64]


def telemetry(state: Row, car: Row, physics: t.VehiclePhysicsControl) -> t.VehicleTelemetryData:
    """Forces in N, torques in N m, angles in rad; the wheels of an axle share its load and forces evenly."""
    s: list[float] = state.tolist()
    speed = s[c.FORWARD]
    return t.VehicleTelemetryData(
        speed=speed,
        steer=s[c.STEER],
        throttle=s[c.THROTTLE],
        brake=s[c.BRAKE],
        engine_rpm=s[c.RPM],
        gear=int(s[c.GEAR]),
        drag=float(car[c.DRAG]) * speed * speed,
        wheels=[_wheel(s, car, index, wheel) for index, wheel in enumerate(physics.wheels)],
    )


def _wheel(s: list[float], car: Row, index: int, physics: t.WheelPhysicsControl) -> t.WheelTelemetryData:
    front = index < 2
    mass, ahead, behind, radius_m = (float(car[k]) for k in (c.MASS, c.FRONT_M, c.REAR_M, c.WHEEL_M))
    rest = 0.25 * mass * _GRAVITY_MPS2
    load = 0.5 * mass * _GRAVITY_MPS2 * (behind if front else ahead) / (ahead + behind)
    braking = s[c.BRAKE_N] if s[c.FORWARD] >= 0.0 else -s[c.BRAKE_N]
    along = 0.25 * (s[c.DRIVE_N] - (braking if s[c.FORWARD] else 0.0))
    sideways = 0.5 * (s[c.FRONT_N] if front else s[c.REAR_N])
    return t.WheelTelemetryData(
        tire_friction=physics.tire_friction,
        lat_slip=_slip(s, ahead if front else -behind, s[c.STEERED] if front else 0.0),
        long_slip=0.0,
        omega=s[c.FORWARD] / radius_m,
        tire_load=load,
        normalized_tire_load=load / rest,
        torque=0.25 * s[c.DRIVE_N] * radius_m,
        long_force=along,
        lat_force=sideways,
        normalized_long_force=along / rest,
        normalized_lat_force=sideways / rest,
    )


def _slip(s: list[float], ahead_m: float, steered: float) -> float:
    """Angle between where a wheel points and where it goes."""
    along, across = s[c.FORWARD], s[c.SIDEWAYS] + ahead_m * s[c.TURNING]
    if abs(along) < _STANDING_MPS:
        return 0.0
    rolling, sliding = (
        along * cos(steered) + across * sin(steered),
        across * cos(steered) - along * sin(steered),
    )
    return atan2(sliding, abs(rolling))
