"""Driving by speed, acceleration and steering angle instead of pedals.

Two cascaded controllers, as CARLA's `AckermannController.cpp` (0.9.16) has them: speed to a change of
acceleration, acceleration to a change of pedals.
"""

from __future__ import annotations

from math import copysign

from carlad.wire import types as t

ACCELERATION_MAX_MPS2, DECELERATION_MAX_MPS2 = 3.0, 8.0  # where the control asks for none
STANDING_MPS = 0.1
SMOOTHING = 0.2  # share of a tick's acceleration in the smoothed one


class Pid:
    """A controller whose output stays in [-1, 1]; its derivative part looks at the measured value only."""

    def __init__(self, kp: float, ki: float, kd: float) -> None:
        self.kp, self.ki, self.kd = kp, ki, kd
        self.reset()

    def reset(self) -> None:
        self._integral = 0.0
        self._before: float | None = None

    def run(self, target: float, value: float, delta_s: float) -> float:
        error = target - value
        self._integral = _clip(self._integral + self.ki * error * delta_s, 1.0)
        rate = 0.0 if self._before is None else (value - self._before) / delta_s
        self._before = value
        return _clip(self.kp * error + self._integral - self.kd * rate, 1.0)


class AckermannController:
    """The controller of one vehicle. Angles are radians, speeds m/s, accelerations m/s^2."""

    def __init__(self) -> None:
        self.active = False
        self._target = t.VehicleAckermannControl()
        self._steer = self._speed_mps = self._acceleration_mps2 = 0.0
        self.apply_settings(t.AckermannControllerSettings())

    @property
    def settings(self) -> t.AckermannControllerSettings:
        speed, acceleration = self._speed, self._acceleration
        return t.AckermannControllerSettings(
            speed.kp, speed.ki, speed.kd, acceleration.kp, acceleration.ki, acceleration.kd
        )

    def apply_settings(self, settings: t.AckermannControllerSettings) -> None:
        self._speed = Pid(settings.speed_kp, settings.speed_ki, settings.speed_kd)
        self._acceleration = Pid(settings.accel_kp, settings.accel_ki, settings.accel_kd)
        self._start()

    def aim(self, target: t.VehicleAckermannControl) -> None:
        """Drive towards `target` from now on."""
        if not self.active:
            self._start()
        self._target, self.active = target, True

    def run(self, speed_mps: float, steer_max: float, delta_s: float) -> t.VehicleControl:
        """The pedals and the steering for the next tick. `steer_max`: of the inner front wheel."""
        acceleration = (speed_mps - self._speed_mps) / delta_s
        self._speed_mps = speed_mps
        self._acceleration_mps2 += SMOOTHING * (acceleration - self._acceleration_mps2)
        self._steer = _approach(self._steer, self._target.steer, abs(self._target.steer_speed) * delta_s)
        self._steer = _clip(self._steer, steer_max)
        control = t.VehicleControl(steer=self._steer / steer_max if steer_max else 0.0)
        if max(abs(speed_mps), abs(self._target.speed)) < STANDING_MPS:
            self._start()
            control.brake = 1.0
            return control
        pedal = self._pedal(self._wanted_speed(speed_mps), delta_s)
        control.reverse = self._reverse
        pressed = -pedal if self._reverse else pedal
        control.throttle, control.brake = max(0.0, pressed), max(0.0, -pressed)
        return control

    def _start(self) -> None:
        self._speed.reset()
        self._acceleration.reset()
        self._wanted_mps2 = self._pressed = 0.0
        self._reverse = False

    def _wanted_speed(self, speed_mps: float) -> float:
        """The target's speed; 0 first where the direction has to change."""
        if abs(speed_mps) < STANDING_MPS:
            self._reverse = self._target.speed < 0.0
        return (
            0.0
            if speed_mps * self._target.speed < 0.0 and abs(speed_mps) >= STANDING_MPS
            else self._target.speed
        )

    def _pedal(self, wanted_mps: float, delta_s: float) -> float:
        limit = abs(self._target.acceleration)
        low, high = (-limit, limit) if limit > 1e-4 else (-DECELERATION_MAX_MPS2, ACCELERATION_MAX_MPS2)
        change = self._speed.run(wanted_mps, self._speed_mps, delta_s)
        self._wanted_mps2 = max(low, min(high, self._wanted_mps2 + change))
        change = self._acceleration.run(self._wanted_mps2, self._acceleration_mps2, delta_s)
        self._pressed = _clip(self._pressed + change, 1.0)
        return self._pressed


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def _approach(now: float, target: float, step: float) -> float:
    """`target`, or at most `step` towards it; a step of 0 means at once."""
    if not step or abs(target - now) <= step:
        return target
    return now + copysign(step, target - now)
