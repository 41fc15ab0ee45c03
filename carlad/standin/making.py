"""Actors from blueprints: what an id of the library becomes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count

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

_PAINT = (120, 120, 130)  # where a blueprint states no colour


@cache
def definitions() -> dict[str, t.ActorDefinition]:
    """The blueprint library by id."""
    return {definition.id: definition for definition in blueprints.definitions()}


class Maker:
    """Makes actors; ids go on from one episode to the next, as in CARLA."""

    def __init__(self, new_stream: Callable[[], int]) -> None:
        self._ids = count(1)
        self._new_stream = new_stream

    def make(self, description: t.ActorDescription, pose: t.Transform, vehicles: Vehicles) -> Actor:
        """An actor as described, at `pose` (world). Raises CallError where there is no such blueprint."""
        definition = definitions().get(description.id)
        if definition is None:
            raise CallError(INVALID_DESCRIPTION)
        kind = description.id.partition(".")[0]
        description = completed(description, definition)
        if kind == "vehicle":
            return self._vehicle(description, pose, vehicles)
        if kind == "walker":
            return Walker(*self._identity(description, pose))
        stream_id = self._new_stream() if has_stream(description.id) else 0
        return Actor(*self._identity(description, pose), stream_id=stream_id)

    def spectator(self, pose: t.Transform) -> Actor:
        return Actor(*self._identity(t.ActorDescription(0, "spectator", []), pose))

    def traffic_light(self, index: int, planned: PlannedLight) -> TrafficLight:
        description = t.ActorDescription(0, "traffic.traffic_light", [])
        return TrafficLight(next(self._ids), index, planned, description)

    def traffic_sign(self, planned: PlannedSign) -> TrafficSign:
        description = t.ActorDescription(0, planned.type_id, [])
        tag = t.CityObjectLabel.TRAFFIC_SIGNS
        return TrafficSign(
            next(self._ids), description, planned.signal_id, planned.pose, planned.stop_lines, tag
        )

    @staticmethod
    def is_solid(actor: Actor) -> bool:
        """Whether others can run into it."""
        return blueprints.has_body(actor.type_id)

    def _vehicle(self, description: t.ActorDescription, pose: t.Transform, vehicles: Vehicles) -> Vehicle:
        values = {attribute.id: attribute.value for attribute in description.attributes}
        body = blueprints.body(description.id)
        return Vehicle(
            *self._identity(description, pose),
            wheelbase_m=body.wheelbase_m,
            mass_kg=body.mass_kg,
            color=_color(values.get("color", "")),
            table=vehicles,
        )

    def _identity(
        self, description: t.ActorDescription, pose: t.Transform
    ) -> tuple[int, t.ActorDescription, t.Transform, t.BoundingBox, int]:
        """What every actor has, in the order of Actor's arguments."""
        actor_id = next(self._ids)
        return actor_id, description, pose, *_bounds_and_tag(description.id, actor_id)


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
