"""What an OpenDRIVE document names that is not in it: CARLA's map library does not say so, but fails."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

_NO_JUNCTION = ("-1", "", None)


def missing(document: ET.Element) -> str | None:
    """The first road or junction that is named but missing, and by whom, in one clause; None where all are
    there. What the library never looks up, such as a road's neighbours outside junctions, is left out.
    """
    return next(_missing(document), None)


def _missing(document: ET.Element) -> Iterator[str]:
    roads = {road.get("id") for road in document.iterfind("road")}
    junctions = {junction.get("id") for junction in document.iterfind("junction")}
    for road in document.iterfind("road"):
        junction = road.get("junction")
        if junction not in _NO_JUNCTION and junction not in junctions:
            yield f"road {road.get('id')} belongs to junction {junction}, which is missing"
    for place in document.iterfind("junction"):
        for connection in place.iterfind("connection"):
            way = connection.get("connectingRoad")
            if way not in roads:
                yield f"junction {place.get('id')} connects by road {way}, which is missing"
