"""The vehicles' equations of motion, compiled: one loop over all of them, each in substeps.

Longitudinal: engine torque by speed and throttle through gearbox and wheels, engine drag and inertia, air
drag, rolling resistance, brakes, slope. Lateral: the dynamic bicycle (Rajamani, Vehicle Dynamics and Control,
2nd ed., section 2.3) with tyre forces that grow linearly with slip and saturate inside the friction ellipse.
Its stiff part is solved implicitly, so that it stays stable at any speed and turns into the kinematic bicycle
(section 2.2) as the speed goes to zero.
"""

from __future__ import annotations

from math import atan, cos, degrees, floor, radians, sin, sqrt, tan

import numpy as np
import numpy.typing as npt

from carlad.standin.motion import columns as c
from carlad.standin.motion.kernel import compiled

GRAVITY_MPS2 = 9.81
ROLLING = 0.012  # rolling resistance by load, of passenger cars' tyres on asphalt (Rajamani, section 4.1.4)
# Times the grip that holds sideways at the front and at the rear: less in front, so that cars understeer. A
# real car's tyres hold about as much sideways as lengthways; CARLA's hold far more, and its Traffic Manager
# relies on that: it takes the tight corners of CARLA's towns at up to 1.5 g.
FRONT_GRIP, REAR_GRIP = 1.76, 2.0
USABLE = 0.97  # share of the grip that brakes may use: an anti-lock system keeps the rest for steering
IDLE_RPM = 750.0
SHIFT_PAUSE_S = 0.6  # the automatic gearbox thinks that long after a shift
SLOW_MPS = 0.3  # below it slip is counted as if at this speed
WHEELS_UP_M = 0.15  # higher above the ground the tyres hold nothing

Table = npt.NDArray[np.float64]


@compiled
def advance(state: Table, car: Table, count: int, delta_s: float, substeps: int) -> None:
    """Move the first `count` vehicles on by `delta_s` > 0 seconds in `substeps` equal parts."""
    step_s = delta_s / substeps
    for row in range(count):
        s, p = state[row], car[row]
        if s[c.SIMULATED] == 0.0:
            s[c.VX : c.AX] = 0.0
            continue
        _steer(s, p)
        steered = cos(s[c.STEERED]), sin(s[c.STEERED])
        for _ in range(substeps):
            _substep(s, p, step_s, steered)
        _lean(s)
        s[c.WZ] = degrees(s[c.TURNING])
        s[c.YAW] -= 360.0 * floor(s[c.YAW] / 360.0 + 0.5)
        s[c.FORCE_X : c.TORQUE + 1] = 0.0


@compiled
def _steer(s: Table, p: Table) -> None:
    """Turn the front wheels, the inner one as told: the middle between them turns less (Ackermann)."""
    share = _curve(p, c.STEERING_CURVE, abs(s[c.FORWARD]) * 3.6 / p[c.STEERING_KMH])
    inner = tan(s[c.STEER] * p[c.STEER_MAX] * share)
    s[c.STEERED] = atan(inner / (1.0 + p[c.TRACK] * abs(inner)))


@compiled
def _lean(s: Table) -> None:
    """Lie on the ground as it slopes."""
    along, across, touches = _ground(s)
    if touches != 0.0:
        s[c.PITCH], s[c.ROLL] = degrees(atan(along)), -degrees(atan(across))


@compiled
def _substep(s: Table, p: Table, step_s: float, steered: tuple[float, float]) -> None:
    _hold(s)
    along, across, touches = _ground(s)
    _shift(s, p, step_s)
    used = _roll(s, p, step_s, along, touches)
    _slide(s, p, step_s, across, touches, used, steered)
    _hold(s)
    _move(s, p, step_s)


@compiled
def _hold(s: Table) -> None:
    """Keep the velocity that is held; the tyres see to the sideways part where that is 0, as in a turn."""
    if s[c.HELD] != 0.0:
        s[c.FORWARD] = s[c.HELD_X]
        if s[c.HELD_Y] != 0.0:
            s[c.SIDEWAYS] = s[c.HELD_Y]


@compiled
def _ground(s: Table) -> tuple[float, float, float]:
    """Slope of the ground forward and to the right, and whether the wheels touch it: 1 or 0."""
    height = s[c.Z] - s[c.GROUND] - s[c.SLOPE_X] * s[c.X] - s[c.SLOPE_Y] * s[c.Y]
    if height > WHEELS_UP_M:
        return 0.0, 0.0, 0.0
    along = s[c.SLOPE_X] * s[c.HEADING_X] + s[c.SLOPE_Y] * s[c.HEADING_Y]
    across = s[c.SLOPE_Y] * s[c.HEADING_X] - s[c.SLOPE_X] * s[c.HEADING_Y]
    return along, across, 1.0


@compiled
def _curve(p: Table, start: int, share: float) -> float:
    """Value of the curve that begins at `start`, at a share of its range."""
    at = min(max(share, 0.0), 1.0) * (c.CURVE - 1)
    low = min(int(at), c.CURVE - 2)
    return float(p[start + low] + (at - low) * (p[start + low + 1] - p[start + low]))


@compiled
def _shift(s: Table, p: Table, step_s: float) -> None:
    """What the gearbox does, by hand or by itself."""
    gear = int(s[c.GEAR])
    s[c.SHIFTING] = max(s[c.SHIFTING] - step_s, -SHIFT_PAUSE_S)
    wanted = gear
    if s[c.MANUAL] != 0.0 or p[c.AUTOMATIC] == 0.0:
        wanted = int(min(max(s[c.GEAR_ASKED], -1.0), p[c.GEARS]))
    elif s[c.REVERSE] != 0.0:
        wanted = -1
    elif gear < 1:
        wanted = 1 if gear < 0 or s[c.THROTTLE] > 0.0 else 0
    elif s[c.SHIFTING] <= -SHIFT_PAUSE_S:
        wanted = _automatic(gear, s[c.RPM] / p[c.RPM_MAX], p)
    if wanted != gear:
        s[c.GEAR] = wanted
        s[c.SHIFTING] = p[c.SHIFT_S] if wanted > 0 and gear > 0 else 0.0


@compiled
def _automatic(gear: int, turns: float, p: Table) -> int:
    """The gear for an engine that turns at this share of its highest speed."""
    if turns > p[c.SHIFT_UP + gear - 1] and gear < p[c.GEARS]:
        return gear + 1
    if turns < p[c.SHIFT_DOWN + gear - 1] and gear > 1:
        return gear - 1
    return gear


@compiled
def _ratio(s: Table, p: Table) -> float:
    """Turns of the engine by metre of road, 2 pi; negative in reverse, 0 while the clutch is open."""
    gear = int(s[c.GEAR])
    if gear == 0 or s[c.SHIFTING] > 0.0 or s[c.HAND_BRAKE] != 0.0:
        return 0.0
    sign = 1.0 if gear > 0 else -1.0
    return float(sign * p[c.RATIO + max(gear, 1) - 1] * p[c.FINAL_RATIO] / p[c.WHEEL_M])


@compiled
def _engine(s: Table, p: Table) -> tuple[float, float, float]:
    """Drive force (N, signed), drag of the engine (N) and its inertia felt at the wheels (kg)."""
    ratio = _ratio(s, p)
    throttle = s[c.THROTTLE]
    turning = abs(s[c.FORWARD] * ratio)
    rpm = max(turning * 60.0 / (2.0 * np.pi), IDLE_RPM)
    if ratio == 0.0:
        s[c.RPM] = IDLE_RPM + throttle * (p[c.RPM_MAX] - IDLE_RPM)
        return 0.0, 0.0, 0.0
    s[c.RPM] = min(rpm, p[c.RPM_MAX])
    torque = throttle * _curve(p, c.TORQUE_CURVE, rpm / p[c.RPM_MAX]) if rpm < p[c.RPM_MAX] else 0.0
    damping = p[c.DAMPING_CLOSED] + throttle * (p[c.DAMPING_FULL] - p[c.DAMPING_CLOSED])
    return torque * ratio, damping * turning * abs(ratio), p[c.ENGINE_INERTIA] * ratio * ratio


@compiled
def _roll(s: Table, p: Table, step_s: float, along: float, touches: float) -> tuple[float, float]:
    """Speed up and slow down; the shares of their grip that the front and the rear tyres use for it."""
    speed, weight = s[c.FORWARD], p[c.MASS] * GRAVITY_MPS2 * touches
    hold = p[c.GRIP] * weight
    drive, engine_drag, inertia = _engine(s, p)
    drive = min(max(drive, -hold), hold)
    rear = p[c.FRONT_M] / (p[c.FRONT_M] + p[c.REAR_M])  # share of the load
    foot = min(s[c.BRAKE] * p[c.BRAKE_MAX_N], USABLE * hold)
    hand = min(s[c.HAND_BRAKE] * p[c.HAND_BRAKE_MAX_N], USABLE * hold * rear)
    braking = min(foot + hand, USABLE * hold)
    pushed = s[c.FORCE_X] * s[c.HEADING_X] + s[c.FORCE_Y] * s[c.HEADING_Y]
    pushed += drive - p[c.MASS] * s[c.GRAVITY] * along / sqrt(1.0 + along * along)
    tyres = min(braking + ROLLING * weight + engine_drag * touches, hold)
    resisted = tyres + p[c.DRAG] * speed * speed
    mass = p[c.MASS] + inertia
    moving = speed + pushed / mass * step_s
    # Resistance ends at standstill: it never turns the motion round.
    left = max(abs(moving) - resisted / mass * step_s, 0.0)
    s[c.FORWARD] = left if moving >= 0.0 else -left
    s[c.DRIVE_N], s[c.BRAKE_N] = drive, braking
    if hold == 0.0:
        return 0.0, 0.0
    both = (abs(drive) + foot) / hold
    return min(both, USABLE), min(both + hand / (hold * rear), USABLE)


@compiled
def _grip(sliding: float, rolling: float, load: float, hold: float, stiffness: float) -> float:
    """Lateral force of an axle by its sideways speed, N s/m. `hold`: its friction coefficient sideways."""
    speed = max(abs(rolling), SLOW_MPS)
    strain = stiffness * abs(sliding) / (speed * hold)
    return float(load * stiffness / (speed * sqrt(1.0 + strain * strain)))


@compiled
def _slide(
    s: Table,
    p: Table,
    step_s: float,
    across: float,
    touches: float,
    used: tuple[float, float],
    steered: tuple[float, float],
) -> None:
    """Sideways speed and yaw rate: implicit Euler for both, with the tyres' stiffness as it is now.

    `used` are the shares of the front's and the rear's grip that are taken, `steered` is the front wheels'
    direction, a unit vector in the vehicle's frame.
    """
    cosine, sine = steered
    mass, front, rear, speed = p[c.MASS], p[c.FRONT_M], p[c.REAR_M], s[c.FORWARD]
    load = mass * GRAVITY_MPS2 * touches / (front + rear)
    nose, tail = s[c.SIDEWAYS] + front * s[c.TURNING], s[c.SIDEWAYS] - rear * s[c.TURNING]
    holds = FRONT_GRIP * p[c.GRIP] * sqrt(1.0 - used[0] * used[0])
    f = _grip(nose * cosine - speed * sine, speed * cosine + nose * sine, load * rear, holds, p[c.STIFFNESS])
    holds = REAR_GRIP * p[c.GRIP] * sqrt(1.0 - used[1] * used[1])
    r = _grip(tail, speed, load * front, holds, p[c.STIFFNESS])
    h, fc = step_s, f * cosine * cosine
    steer = f * cosine * speed * sine
    pushed = s[c.FORCE_Y] * s[c.HEADING_X] - s[c.FORCE_X] * s[c.HEADING_Y]
    pushed -= mass * s[c.GRAVITY] * across
    a, b = mass + h * (fc + r), h * (mass * speed + front * fc - rear * r)
    d, e = h * (front * fc - rear * r), p[c.INERTIA] + h * (front * front * fc + rear * rear * r)
    u = mass * s[c.SIDEWAYS] + h * (steer + pushed)
    v = p[c.INERTIA] * s[c.TURNING] + h * (front * steer + s[c.TORQUE])
    s[c.SIDEWAYS], s[c.TURNING] = (u * e - b * v) / (a * e - b * d), (a * v - d * u) / (a * e - b * d)
    slipping = (s[c.SIDEWAYS] + front * s[c.TURNING]) * cosine - speed * sine
    s[c.FRONT_N], s[c.REAR_N] = -f * slipping, -r * (s[c.SIDEWAYS] - rear * s[c.TURNING])
    s[c.FORWARD] += h * (s[c.SIDEWAYS] * s[c.TURNING] + f * slipping * sine / mass)


@compiled
def _move(s: Table, p: Table, step_s: float) -> None:
    """Go where the velocity leads, fall, and stand on the ground."""
    s[c.YAW] += degrees(s[c.TURNING] * step_s)
    cosine, sine = cos(radians(s[c.YAW])), sin(radians(s[c.YAW]))
    s[c.HEADING_X], s[c.HEADING_Y] = cosine, sine
    s[c.VX] = s[c.FORWARD] * cosine - s[c.SIDEWAYS] * sine
    s[c.VY] = s[c.FORWARD] * sine + s[c.SIDEWAYS] * cosine
    s[c.VZ] += (s[c.FORCE_Z] / p[c.MASS] - s[c.GRAVITY]) * step_s
    s[c.X] += s[c.VX] * step_s
    s[c.Y] += s[c.VY] * step_s
    s[c.Z] += s[c.VZ] * step_s
    ground = s[c.GROUND] + s[c.SLOPE_X] * s[c.X] + s[c.SLOPE_Y] * s[c.Y]
    if s[c.Z] <= ground:
        s[c.Z] = ground
        s[c.VZ] = s[c.SLOPE_X] * s[c.VX] + s[c.SLOPE_Y] * s[c.VY]
