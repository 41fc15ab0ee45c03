"""Friction triggers: boxes in the world in which a vehicle's tyres have another friction.

Source: `FrictionTrigger.cpp` (0.9.16).
"""

from __future__ import annotations

import msgspec

from carlad.standin.actors import Actor
from carlad.standin.collisions import Box, box_at, box_of, touching
from carlad.standin.vehicles import Vehicle, Vehicles
from carlad.wire import types as t

FRICTION = "static.trigger.friction"
_CM = 100.0
_LARGEST = 1e9  # of any number of a trigger; also instead of infinity


class FrictionTriggers:
    """All triggers of an episode, and what the tyres of the vehicles in them had before."""

    def __init__(self) -> None:
        self._triggers: dict[Actor, Box] = {}
        self._before: dict[tuple[Actor, Vehicle], list[float]] = {}

    def add(self, trigger: Actor) -> None:
        """`trigger` is an actor of the blueprint FRICTION; it never moves."""
        x, y, z = (_number(trigger, f"extent_{axis}") / _CM for axis in "xyz")
        bounds = t.BoundingBox(t.Vector3D(), t.Vector3D(x, y, z), t.Rotation(), trigger.id)
        self._triggers[trigger] = box_at(bounds, trigger.pose)

    def remove(self, actor: Actor) -> None:
        """A trigger or a vehicle goes; vehicles keep the friction that they have."""
        self._triggers.pop(actor, None)
        self._before = {pair: before for pair, before in self._before.items() if actor not in pair}

    def step(self, vehicles: Vehicles) -> None:
        """Change the tyres of those who came in or went out."""
        for trigger, box in self._triggers.items():
            for vehicle in vehicles.all:
                inside = touching(box, box_of(vehicle)) is not None
                if inside != ((trigger, vehicle) in self._before):
                    self._cross(trigger, vehicle)

    def _cross(self, trigger: Actor, vehicle: Vehicle) -> None:
        before = self._before.pop((trigger, vehicle), None)
        if before is not None:
            _set(vehicle, before)
            return
        self._before[trigger, vehicle] = [wheel.tire_friction for wheel in vehicle.physics_control.wheels]
        _set(vehicle, [_number(trigger, "friction")] * 4)


def _number(trigger: Actor, attribute: str) -> float:
    """Of a trigger: finite and not below 0."""
    return min(max(0.0, float(trigger.values[attribute])), _LARGEST)


def _set(vehicle: Vehicle, frictions: list[float]) -> None:
    control = vehicle.physics_control
    wheels = [
        msgspec.structs.replace(wheel, tire_friction=friction)
        for wheel, friction in zip(control.wheels, frictions, strict=True)
    ]
    vehicle.apply_physics_control(msgspec.structs.replace(control, wheels=wheels))
