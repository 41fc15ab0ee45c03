"""Actors from blueprints: what an id of the library becomes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from carlad.standin import blueprints
from carlad.standin.actors import Actor
from carlad.standin.errors import INVALID_DESCRIPTION
from carlad.standin.sensing import has_stream
from carlad.standin.towns import TrafficSign as PlannedSign
from carlad.standin.towns.lights import TrafficLight as PlannedLight
from carlad.standin.traffic_lights import TrafficLight
from carlad.standin.traffic_signs import TrafficSign
from carlad.standin.vehicles import Vehicle, Vehicles
from carlad.standin.walkers import Walker
from carlad.wire import types as t
from carlad.wire.errors import CallError

# What every actor has, in the order of Actor's arguments.
_Identity: TypeAlias = tuple[int, t.ActorDescription, t.Transform, t.BoundingBox, int]

_PAINT = (120, 120, 130)  # where a blueprint states no colour


@cache
def definitions() -> dict[str, t.ActorDefinition]:
    """The blueprint library by id."""
    return {definition.id: definition for definition in blueprints.definitions()}


class Maker:
    """Makes actors; ids go on from one episode to the next, as in CARLA."""

    def __init__(self, new_stream: Callable[[], int]) -> None:
        self._last_id = 0
        self._new_stream = new_stream

    def make(
        self, description: t.ActorDescription, pose: t.Transform, vehicles: Vehicles, actor_id: int = 0
    ) -> Actor:
        """An actor as described, at `pose` (world), under a new id or that of one that is gone.

        Raises CallError where there is no such blueprint.
        """
        definition = definitions().get(description.id)
        if definition is None:
            raise CallError(INVALID_DESCRIPTION)
        kind = description.id.partition(".")[0]
        identity = self._identity(completed(description, definition), pose, actor_id)
        if kind == "vehicle":
            return _vehicle(identity, vehicles)
        if kind == "walker":
            return Walker(*identity)
        return Actor(*identity, stream_id=self._new_stream() if has_stream(description.id) else 0)

    def spectator(self, pose: t.Transform) -> Actor:
        return Actor(*self._identity(t.ActorDescription(0, "spectator", []), pose))

    def traffic_light(self, index: int, planned: PlannedLight) -> TrafficLight:
        description = t.ActorDescription(0, "traffic.traffic_light", [])
        return TrafficLight(self._new_id(), index, planned, description)

    def traffic_sign(self, planned: PlannedSign) -> TrafficSign:
        description = t.ActorDescription(0, planned.type_id, [])
        tag = t.CityObjectLabel.TRAFFIC_SIGNS
        return TrafficSign(
            self._new_id(), description, planned.signal_id, planned.pose, planned.stop_lines, tag
        )

    @staticmethod
    def is_solid(actor: Actor) -> bool:
        """Whether others can run into it."""
        return blueprints.has_body(actor.type_id)

    def _identity(self, description: t.ActorDescription, pose: t.Transform, actor_id: int = 0) -> _Identity:
        actor_id = actor_id or self._new_id()
        self._last_id = max(self._last_id, actor_id)
        return actor_id, description, pose, *_bounds_and_tag(description.id, actor_id)

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _vehicle(identity: _Identity, vehicles: Vehicles) -> Vehicle:
    description = identity[1]
    values = {attribute.id: attribute.value for attribute in description.attributes}
    body = blueprints.body(description.id)
    return Vehicle(
        *identity,
        wheelbase_m=body.wheelbase_m,
        mass_kg=body.mass_kg,
        color=_color(values.get("color", "")),
        table=vehicles,
    )


def completed(description: t.ActorDescription, definition: t.ActorDefinition) -> t.ActorDescription:
    """The description with the blueprint's own values for attributes that the client left out."""
    given = {attribute.id for attribute in description.attributes}
    missing = [
        t.ActorAttributeValue(a.id, a.type, a.value) for a in definition.attributes if a.id not in given
    ]
    return t.ActorDescription(definition.uid, definition.id, description.attributes + missing)


def _bounds_and_tag(blueprint_id: str, actor_id: int) -> tuple[t.BoundingBox, int]:
    if not blueprints.has_body(blueprint_id):
        return t.BoundingBox(t.Vector3D(), t.Vector3D(), t.Rotation(), actor_id), t.CityObjectLabel.NONE
    body = blueprints.body(blueprint_id)
    box = t.BoundingBox(t.Vector3D(*body.center), t.Vector3D(*body.extent), t.Rotation(), actor_id)
    return box, body.tag


def _color(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = (max(0, min(255, int(part))) for part in text.split(","))
    except ValueError:
        return _PAINT
    return red, green, blue
