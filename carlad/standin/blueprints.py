"""CARLA 0.9.16's blueprints: what can be spawned, with which attributes, and the bodies behind them.

`blueprints.json` holds facts from public dumps, source and documentation. What nobody has published is left
out there and chosen plausibly here: most colours, driver ids, masses, the wheelbases of newer vehicles and
the props' size classes. Ids, attributes, their order and their other defaults are the real ones
(ActorBlueprintFunctionLibrary.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from carlad.wire.types import ActorAttribute, ActorDefinition, AttributeType, CityObjectLabel

_Triple = tuple[float, float, float]

_VEHICLE_ROLES = ["autopilot", "scenario", "ego_vehicle"]
_SENSOR_ROLES = ["front", "back", "left", "right", "front_left", "front_right", "back_left", "back_right"]
_COLORS = ["198,198,200", "30,32,36", "140,22,24", "32,58,112", "236,236,232", "62,86,70"]
_DRIVERS = ["0", "1", "2", "3"]

_TAGS = {
    "truck": CityObjectLabel.TRUCK,
    "bus": CityObjectLabel.BUS,
    "motorcycle": CityObjectLabel.MOTORCYCLE,
    "bicycle": CityObjectLabel.BICYCLE,
}  # every other base type is a car
# Mass of the bounding box, kg/m^3: 1696 kg for CARLA's Lincoln MKZ 2017, whose mass is known.
_DENSITY = {"truck": 120.0, "bus": 80.0, "van": 90.0, "motorcycle": 110.0, "bicycle": 40.0}
_CAR_DENSITY = 107.0
_WHEELBASE_SHARE = {"truck": 0.55, "bus": 0.55, "motorcycle": 0.67, "bicycle": 0.67}
_CAR_WHEELBASE_SHARE = 0.62  # of the length: the mean of the vehicles whose wheelbase is known
_WALKER_MASS_KG = 75.0
_PROP_DENSITY = 50.0
_SIZES_M = ((0.2, "tiny"), (0.6, "small"), (1.5, "medium"), (4.0, "big"))  # longest side up to; else huge


class UnknownBlueprintError(LookupError):
    """There is no blueprint of that id, or none with a body."""


@dataclass(frozen=True)
class Body:
    """The physical side of a blueprint.

    `extent` are the half sizes of the bounding box and `center` its middle in the actor's frame (m); `tag` is
    its semantic label. Of vehicles also the number of wheels, the distance between the axles, and the front
    axle's x in the actor's frame (m); zeros for all else.
    """

    extent: _Triple
    center: _Triple
    tag: CityObjectLabel
    mass_kg: float
    wheels: int = 0
    wheelbase_m: float = 0.0
    front_axle_m: float = 0.0


@cache
def definitions() -> tuple[ActorDefinition, ...]:
    """All blueprints as get_actor_definitions lists them, uids counted from 1."""
    facts = _facts()
    definitions = [
        *map(_vehicle_definition, facts.vehicles),
        *map(_walker_definition, facts.walkers),
        *(_sensor_definition(sensor, facts.sensor_attributes) for sensor in facts.sensors),
        *map(_prop_definition, facts.props),
        *(_sensor_definition(other, facts.sensor_attributes) for other in facts.others),
    ]
    for uid, definition in enumerate(definitions, start=1):
        definition.uid = uid
    return tuple(definitions)


def has_body(blueprint_id: str) -> bool:
    """Whether it can be seen and run into."""
    return blueprint_id in _bodies()


def body(blueprint_id: str) -> Body:
    """Of a vehicle, a walker or a prop. Raises UnknownBlueprintError."""
    try:
        return _bodies()[blueprint_id]
    except KeyError:
        raise UnknownBlueprintError(f"cannot find a body for blueprint {blueprint_id!r}") from None


# --- the facts -------------------------------------------------------------------------------------


class _Attribute(msgspec.Struct, array_like=True):
    """`recommended` None: the value alone."""

    id: str
    type: str
    value: str
    recommended: list[str] | None = None
    restricted: bool = False


class _Vehicle(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    base_type: str
    special_type: str
    wheels: int
    generation: int
    doors: bool
    lights: bool
    extent: _Triple
    center: _Triple
    wheelbase: float | None = None
    front_axle: float | None = None
    mass: float | None = None
    painted: bool = True
    colors: list[str] = msgspec.field(default_factory=_COLORS.copy)
    driver: bool = False


class _Walker(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    gender: str
    age: str
    generation: int
    speeds: list[str]
    wheelchair: bool
    extent: _Triple
    center: _Triple


class _Sensor(msgspec.Struct, forbid_unknown_fields=True):
    """`positioned`: its role_name offers places on a vehicle. `sets` come before its own attributes."""

    id: str
    positioned: bool = False
    sets: list[str] = []
    attributes: list[_Attribute] = []


class _Prop(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    extent: _Triple


class _Facts(msgspec.Struct, forbid_unknown_fields=True):
    vehicles: list[_Vehicle]
    walkers: list[_Walker]
    sensor_attributes: dict[str, list[_Attribute]]
    sensors: list[_Sensor]
    props: list[_Prop]
    others: list[_Sensor]


@cache
def _facts() -> _Facts:
    text = Path(__file__).with_name("blueprints.json").read_bytes()
    return msgspec.json.decode(text, type=_Facts)


# --- definitions -----------------------------------------------------------------------------------

_TYPES = {
    "Bool": AttributeType.BOOL,
    "Int": AttributeType.INT,
    "Float": AttributeType.FLOAT,
    "String": AttributeType.STRING,
    "RGBColor": AttributeType.RGB_COLOR,
}


def _vehicle_definition(vehicle: _Vehicle) -> ActorDefinition:
    attributes = _common(_VEHICLE_ROLES)
    if vehicle.painted:
        attributes.append(_variation("color", "RGBColor", vehicle.colors))
    if vehicle.driver:
        attributes.append(_variation("driver_id", "Int", _DRIVERS, restricted=True))
    attributes += [
        _variation("sticky_control", "Bool", ["true"]),
        _variation("terramechanics", "Bool", ["false"]),
        _fixed("object_type", "String", ""),
        _fixed("base_type", "String", vehicle.base_type),
        _fixed("special_type", "String", vehicle.special_type),
        _fixed("number_of_wheels", "Int", str(vehicle.wheels)),
        _fixed("generation", "Int", str(vehicle.generation)),
        _fixed("has_dynamic_doors", "Bool", _text(vehicle.doors)),
        _fixed("has_lights", "Bool", _text(vehicle.lights)),
    ]
    return _definition(vehicle.id, attributes)


def _walker_definition(walker: _Walker) -> ActorDefinition:
    wheelchair = ["false", "true"] if walker.wheelchair else ["false"]
    return _definition(
        walker.id,
        [
            *_common(["pedestrian"]),
            _variation("speed", "Float", walker.speeds),
            _variation("is_invincible", "Bool", ["true"]),
            _variation("use_wheelchair", "Bool", wheelchair, restricted=True),
            _fixed("gender", "String", walker.gender),
            _fixed("generation", "Int", str(walker.generation)),
            _fixed("age", "String", walker.age),
            _fixed("can_use_wheelchair", "Bool", _text(walker.wheelchair)),
        ],
    )


def _sensor_definition(sensor: _Sensor, sets: dict[str, list[_Attribute]]) -> ActorDefinition:
    own = [*(attribute for name in sensor.sets for attribute in sets[name]), *sensor.attributes]
    variations = [_variation(a.id, a.type, a.recommended or [a.value], a.restricted) for a in own]
    return _definition(
        sensor.id, [*_common(_SENSOR_ROLES if sensor.positioned else ["default"]), *variations]
    )


def _prop_definition(prop: _Prop) -> ActorDefinition:
    longest = 2 * max(prop.extent)
    size = next((name for limit, name in _SIZES_M if longest <= limit), "huge")
    return _definition(prop.id, [*_common(["prop"]), _fixed("size", "String", size)])


def _definition(blueprint_id: str, attributes: list[ActorAttribute]) -> ActorDefinition:
    return ActorDefinition(uid=0, id=blueprint_id, tags=blueprint_id.replace(".", ","), attributes=attributes)


def _common(roles: list[str]) -> list[ActorAttribute]:
    return [
        _variation("role_name", "String", roles),
        _variation("ros_name", "String", [""]),
        _variation("ros_frame_id", "String", [""]),
        _variation("ros_publish_tf", "Bool", ["true"]),
    ]


def _variation(name: str, kind: str, values: list[str], restricted: bool = False) -> ActorAttribute:
    """An attribute that users may set; its default is the first recommended value."""
    return ActorAttribute(name, _TYPES[kind], values[0], values, True, restricted)


def _fixed(name: str, kind: str, value: str) -> ActorAttribute:
    return ActorAttribute(name, _TYPES[kind], value, [], False, False)


def _text(flag: bool) -> str:
    return "true" if flag else "false"


# --- bodies ----------------------------------------------------------------------------------------


@cache
def _bodies() -> dict[str, Body]:
    facts = _facts()
    return dict([*_vehicle_bodies(facts), *_walker_bodies(facts), *_prop_bodies(facts)])


def _vehicle_bodies(facts: _Facts) -> Iterator[tuple[str, Body]]:
    for vehicle in facts.vehicles:
        kind, extent, center = vehicle.base_type, vehicle.extent, vehicle.center
        wheelbase = vehicle.wheelbase or 2 * extent[0] * _WHEELBASE_SHARE.get(kind, _CAR_WHEELBASE_SHARE)
        front_axle = vehicle.front_axle or center[0] + wheelbase / 2
        mass = vehicle.mass or round(_volume(extent) * _DENSITY.get(kind, _CAR_DENSITY))
        tag = _TAGS.get(kind, CityObjectLabel.CAR)
        yield vehicle.id, Body(extent, center, tag, mass, vehicle.wheels, wheelbase, front_axle)


def _walker_bodies(facts: _Facts) -> Iterator[tuple[str, Body]]:
    for walker in facts.walkers:
        yield walker.id, Body(walker.extent, walker.center, CityObjectLabel.PEDESTRIANS, _WALKER_MASS_KG)


def _prop_bodies(facts: _Facts) -> Iterator[tuple[str, Body]]:
    """Props stand on their origin."""
    for prop in facts.props:
        mass = max(1.0, _volume(prop.extent) * _PROP_DENSITY)
        yield prop.id, Body(prop.extent, (0.0, 0.0, prop.extent[2]), CityObjectLabel.STATIC, mass)


def _volume(extent: _Triple) -> float:
    return 8 * extent[0] * extent[1] * extent[2]
