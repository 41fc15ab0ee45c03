"""The vehicles' equations of motion, for all vehicles at once.

Longitudinal: a drive force limited by acceleration and by power, air drag, rolling and engine resistance,
brakes. Lateral: the kinematic bicycle (Rajamani, Vehicle Dynamics and Control, 2nd ed., section 2.2) with
the reference point halfway between the axles, its yaw rate and slip limited by what the tyres can hold.
Chosen so that CARLA's unmodified Traffic Manager, tuned for real cars, keeps its lane; not fitted to any
single car.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

GRAVITY_MPS2 = 9.81
DRIVE_MAX_MPS2 = 4.5  # full throttle from standstill: 0 to 100 km/h in about 9 s
DRIVE_POWER_W_PER_KG = 60.0
BRAKE_MAX_MPS2 = 8.0  # dry asphalt
ROLLING_MPS2 = 0.15
ENGINE_BRAKE_MPS2 = 0.35  # without throttle
DRAG_PER_M = 2.5e-4  # c_d A rho / 2 m of a passenger car: deceleration = drag * v^2
GRIP_MPS2 = 8.0  # lateral acceleration that the tyres hold
SPIN_UP_RADPS2 = 12.0  # how fast they can change the yaw rate

_FULL_FORCE_MPS = DRIVE_POWER_W_PER_KG / DRIVE_MAX_MPS2  # above it the power is the limit
_SPEED_MIN_MPS = 1.0  # below it grip is no limit to the yaw rate

Column = npt.NDArray[np.float64]


class Columns(NamedTuple):
    """State and controls of all vehicles: float64 (N,) each.

    The first fifteen are the kinematics of the wire's records, in their order and units: metres, degrees,
    m/s, deg/s, m/s^2, world frame. The controls are worked out once when they are given, see vehicles.py.
    """

    x: Column
    y: Column
    z: Column
    pitch: Column
    yaw: Column
    roll: Column
    vx: Column
    vy: Column
    vz: Column
    wx: Column
    wy: Column
    wz: Column
    ax: Column
    ay: Column
    az: Column
    # Unit vector of the heading in the middle of the last tick.
    cosine: Column
    sine: Column
    # Body frame: speed forward and to the right, m/s, and yaw rate, rad/s.
    forward: Column
    sideways: Column
    turning: Column
    # What the controls ask for.
    drive: Column  # throttle in [-1, 1], negative in reverse
    resistance: Column  # deceleration by brakes, wheels and engine, m/s^2
    curvature: Column  # of the path that the front wheels point along, 1/m
    # What holds the vehicle.
    half_base: Column  # half the distance between the axles, m
    gravity: Column  # m/s^2; 0 while physics are switched off
    floor: Column  # height that it cannot fall below, m
    tilt: Column  # share of pitch and roll that a tick leaves: 0 on its wheels, 1 without physics


COLUMNS = len(Columns._fields)


def advance(c: Columns, delta_s: float) -> None:
    """Move every vehicle on by `delta_s` > 0 seconds, in place."""
    _drive(c, delta_s)
    _turn(c, delta_s)
    _integrate(c, delta_s)


def _drive(c: Columns, delta_s: float) -> None:
    speed = np.abs(c.forward)
    push = c.drive * (DRIVE_POWER_W_PER_KG / np.maximum(speed, _FULL_FORCE_MPS))
    resist = c.resistance + DRAG_PER_M * speed * speed
    pushed = c.forward + push * delta_s
    # Resistance ends at standstill: it never turns the motion round.
    np.copysign(np.maximum(np.abs(pushed) - resist * delta_s, 0.0), pushed, out=c.forward)


def _turn(c: Columns, delta_s: float) -> None:
    spin_up, slip = SPIN_UP_RADPS2 * delta_s, GRIP_MPS2 * delta_s
    limit = GRIP_MPS2 / np.maximum(np.abs(c.forward), _SPEED_MIN_MPS)
    wanted = np.minimum(np.maximum(c.forward * c.curvature, -limit), limit) - c.turning
    np.add(c.turning, np.minimum(np.maximum(wanted, -spin_up), spin_up), out=c.turning)
    # Sideways speed of the middle while the rear axle only rolls.
    rolling = c.half_base * c.turning - c.sideways
    np.add(c.sideways, np.minimum(np.maximum(rolling, -slip), slip), out=c.sideways)


def _integrate(c: Columns, delta_s: float) -> None:
    np.degrees(c.turning, out=c.wz)
    turned = c.wz * delta_s
    middle = np.radians(c.yaw + 0.5 * turned)
    cosine, sine = np.cos(middle, out=c.cosine), np.sin(middle, out=c.sine)
    landed = np.maximum(c.z + (c.vz - c.gravity * delta_s) * delta_s, c.floor)
    for velocity, acceleration, now in (
        (c.vx, c.ax, c.forward * cosine - c.sideways * sine),
        (c.vy, c.ay, c.forward * sine + c.sideways * cosine),
        (c.vz, c.az, (landed - c.z) / delta_s),
    ):
        np.divide(now - velocity, delta_s, out=acceleration)
        velocity[:] = now
    np.add(c.x, c.vx * delta_s, out=c.x)
    np.add(c.y, c.vy * delta_s, out=c.y)
    c.z[:] = landed
    yaw = c.yaw + turned
    np.subtract(yaw, 360.0 * np.rint(yaw / 360.0), out=c.yaw)
    np.multiply(c.pitch, c.tilt, out=c.pitch)
    np.multiply(c.roll, c.tilt, out=c.roll)
