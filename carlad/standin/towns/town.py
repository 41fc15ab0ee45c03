"""A town as the server needs it: its OpenDRIVE text and what follows from it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import carla

from carlad.standin.towns.lights import LightGroup, TrafficLight, light_plan
from carlad.standin.towns.spawn import spawn_points
from carlad.wire.types import Transform

_KMH_PER = {"km/h": 1.0, "mph": 1.609344, "m/s": 3.6, "": 3.6}


class OpenDriveError(ValueError):
    """The text is not an OpenDRIVE document that CARLA's map library can drive on."""


@dataclass(frozen=True)
class Town:
    """`name` as the server gives it in MapInfo, such as "Carla/Maps/Town01".

    Spawn points stand 0.5 m above driving lanes, outside junctions, at least 10 m apart along a lane.
    `speed_limits_kmh` holds the limit of each OpenDRIVE road that states one, by road id.
    """

    name: str
    xodr: str
    map: carla.Map
    spawn_points: tuple[Transform, ...]
    lights: tuple[TrafficLight, ...]
    light_groups: tuple[LightGroup, ...]
    speed_limits_kmh: Mapping[int, float]


def from_opendrive(name: str, xodr: str) -> Town:
    """The town that an OpenDRIVE text describes. Raises OpenDriveError."""
    document = _parse(name, xodr)
    try:
        town_map = carla.Map(name, xodr)
    except RuntimeError as failure:
        raise OpenDriveError(f"cannot make a map of {name!r}: {failure}") from failure
    if not town_map.get_topology():
        raise OpenDriveError(f"cannot make a map of {name!r}: it has no driving lane")
    lights, groups = light_plan(town_map, document)
    return Town(
        name=name,
        xodr=xodr,
        map=town_map,
        spawn_points=spawn_points(town_map),
        lights=lights,
        light_groups=groups,
        speed_limits_kmh=dict(_speed_limits(document)),
    )


def _parse(name: str, xodr: str) -> ET.Element:
    try:
        document = ET.fromstring(xodr.encode())
    except (ET.ParseError, UnicodeError) as failure:
        raise OpenDriveError(f"cannot read the OpenDRIVE text of {name!r}: {failure}") from failure
    if document.tag != "OpenDRIVE":
        raise OpenDriveError(f"cannot read the OpenDRIVE text of {name!r}: its root is <{document.tag}>")
    return document


def _speed_limits(document: ET.Element) -> Iterator[tuple[int, float]]:
    """The first limit of each road: `<type><speed max unit>`; m/s where the unit is left out."""
    for road in document.iterfind("road"):
        speed = road.find("type/speed")
        if speed is None:
            continue
        try:
            yield int(road.get("id", "")), float(speed.get("max", "")) * _KMH_PER[speed.get("unit", "")]
        except (ValueError, KeyError):
            continue  # "no limit", or a unit that OpenDRIVE does not have
