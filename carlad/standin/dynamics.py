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
_SPEED_MIN_MPS = 1.0  # below it grip is no limit to the yaw rate

Column = npt.NDArray[np.float64]


class Columns(NamedTuple):
    """State, controls and parameters of all vehicles: float64 (N,) each.

    The first fifteen are the kinematics of the wire's records, in their order and units: metres, degrees,
    m/s, deg/s, m/s^2, world frame.
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
    # Body frame: forward and to the right, m/s, and yaw rate, rad/s.
    forward: Column
    sideways: Column
    turning: Column
    # Controls: throttle and brake in [0, 1], steer in [-1, 1]; hand brake 0 or 1; drive 1, -1 in reverse.
    throttle: Column
    steer: Column
    brake: Column
    hand_brake: Column
    direction: Column
    # Parameters.
    wheelbase: Column  # m
    steer_max: Column  # rad, of the wheels
    moves: Column  # 1, or 0 while physics are switched off
    ground: Column  # m, height of the ground below


COLUMNS = len(Columns._fields)


def advance(c: Columns, delta_s: float) -> None:
    """Move every vehicle on by `delta_s` seconds, in place."""
    if delta_s <= 0:
        return
    _drive(c, delta_s)
    _turn(c, delta_s)
    _integrate(c, delta_s)


def _drive(c: Columns, delta_s: float) -> None:
    speed = np.abs(c.forward)
    push = np.minimum(DRIVE_MAX_MPS2, DRIVE_POWER_W_PER_KG / np.maximum(speed, _SPEED_MIN_MPS))
    push *= c.throttle * c.direction * (1.0 - c.hand_brake)
    resist = BRAKE_MAX_MPS2 * np.maximum(c.brake, c.hand_brake) + DRAG_PER_M * speed * speed
    resist += ROLLING_MPS2 + ENGINE_BRAKE_MPS2 * (c.throttle == 0.0)
    pushed = c.forward + push * delta_s
    # Resistance ends at standstill: it never turns the motion round.
    c.forward[:] = np.copysign(np.maximum(np.abs(pushed) - resist * delta_s, 0.0), pushed) * c.moves


def _turn(c: Columns, delta_s: float) -> None:
    wanted = c.forward * np.tan(c.steer * c.steer_max) / c.wheelbase
    limit = GRIP_MPS2 / np.maximum(np.abs(c.forward), _SPEED_MIN_MPS)
    wanted = np.minimum(np.maximum(wanted, -limit), limit)
    spin_up, slip = SPIN_UP_RADPS2 * delta_s, GRIP_MPS2 * delta_s
    c.turning[:] += np.minimum(np.maximum(wanted - c.turning, -spin_up), spin_up)
    c.turning[:] *= c.moves
    rolling = 0.5 * c.wheelbase * c.turning  # sideways speed of the middle while the rear axle only rolls
    c.sideways[:] += np.minimum(np.maximum(rolling - c.sideways, -slip), slip)
    c.sideways[:] *= c.moves


def _integrate(c: Columns, delta_s: float) -> None:
    turned = np.degrees(c.turning)
    middle = np.radians(c.yaw + 0.5 * delta_s * turned)
    cosine, sine = np.cos(middle), np.sin(middle)
    vx = c.forward * cosine - c.sideways * sine
    vy = c.forward * sine + c.sideways * cosine
    height = c.z + (c.vz - GRAVITY_MPS2 * delta_s) * delta_s * c.moves
    landed = np.where(c.moves > 0.0, np.maximum(height, c.ground), c.z)
    vz = (landed - c.z) / delta_s
    c.ax[:], c.ay[:], c.az[:] = (vx - c.vx) / delta_s, (vy - c.vy) / delta_s, (vz - c.vz) / delta_s
    c.vx[:], c.vy[:], c.vz[:] = vx, vy, vz
    c.x[:] += vx * delta_s
    c.y[:] += vy * delta_s
    c.z[:] = landed
    c.yaw[:] = (c.yaw + turned * delta_s + 180.0) % 360.0 - 180.0
    c.wz[:] = turned
    c.pitch[:] *= 1.0 - c.moves
    c.roll[:] *= 1.0 - c.moves
