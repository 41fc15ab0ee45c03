"""A town as the server needs it: its OpenDRIVE text and what follows from it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import carla

from carlad.standin.towns.attributes import parsed, unbounded
from carlad.standin.towns.files import TWIN
from carlad.standin.towns.furnish import furnish
from carlad.standin.towns.lights import LightGroup, TrafficLight, light_plan
from carlad.standin.towns.references import missing
from carlad.standin.towns.signs import TrafficSign, traffic_signs
from carlad.standin.towns.spawn import spawn_points
from carlad.standin.towns.speeds import speed_limits_kmh
from carlad.standin.towns.trial import verdict
from carlad.wire.types import Transform

_SAMPLE_M = 5.0
_KEPT = 2  # towns of each origin: those who learn load the same ones for each episode


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
    signs: tuple[TrafficSign, ...]
    speed_limits_kmh: Mapping[int, float]

    @cached_property
    def look(self) -> str:
        """The same for towns that look alike, houses and trees included: CARLA's `_Opt` twins do."""
        return f"{self.name.removesuffix(TWIN)}\n{self.xodr}"


@lru_cache(_KEPT)
def from_opendrive(name: str, xodr: str) -> Town:
    """The town that an OpenDRIVE text describes, which is tried out first. Raises OpenDriveError.

    What its junctions lack of lights, signs and crosswalks is added; `Town.xodr` is the completed text.
    """
    document = _parse(name, xodr)
    failure = unbounded(document) or verdict(xodr)
    if failure is not None:
        raise OpenDriveError(f"cannot make a map of {name!r}: {missing(document) or failure}")
    try:
        return _town(name, xodr, document)
    except (ArithmeticError, LookupError) as error:
        raise OpenDriveError(f"cannot make a map of {name!r}: it contradicts itself ({error!r})") from error


@lru_cache(_KEPT)
def town_of(name: str, xodr: str) -> Town:
    """Like `from_opendrive`, for a text that is known to be sound."""
    return _town(name, xodr, _parse(name, xodr))


def _town(name: str, xodr: str, document: ET.Element) -> Town:
    town_map = _map(name, xodr)
    if furnish(town_map, document):
        xodr = ET.tostring(document, encoding="utf-8", xml_declaration=True).decode()
        town_map = _map(name, xodr)
    lights, groups = light_plan(town_map, document)
    return Town(
        name=name,
        xodr=xodr,
        map=town_map,
        spawn_points=spawn_points(town_map),
        lights=lights,
        light_groups=groups,
        signs=traffic_signs(town_map),
        speed_limits_kmh=speed_limits_kmh(document),
    )


def _map(name: str, xodr: str) -> carla.Map:
    try:
        town_map = carla.Map(name, xodr)
    except RuntimeError as failure:
        raise OpenDriveError(f"cannot make a map of {name!r}: {failure}") from failure
    if not town_map.generate_waypoints(_SAMPLE_M):
        raise OpenDriveError(f"cannot make a map of {name!r}: it has no driving lane")
    return town_map


def _parse(name: str, xodr: str) -> ET.Element:
    try:
        document = parsed(xodr)
    except (ET.ParseError, UnicodeError) as failure:
        raise OpenDriveError(f"cannot read the OpenDRIVE text of {name!r}: {failure}") from failure
    if document.tag != "OpenDRIVE":
        raise OpenDriveError(f"cannot read the OpenDRIVE text of {name!r}: its root is <{document.tag}>")
    return document
