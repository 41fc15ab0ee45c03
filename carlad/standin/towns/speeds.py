"""The speed limits that an OpenDRIVE document states."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from carlad.standin.towns.attributes import road_id

_KMH_PER = {"km/h": 1.0, "mph": 1.609344, "m/s": 3.6, "": 3.6}


def speed_limits_kmh(document: ET.Element) -> dict[int, float]:
    """The first limit of each road that has one, by road id: `<type><speed max unit>`."""
    limits = {}
    for road in document.iterfind("road"):
        speed = road.find("type/speed")
        if speed is None:
            continue
        try:
            limits[road_id(road)] = float(speed.get("max", "")) * _KMH_PER[speed.get("unit", "")]
        except (ValueError, KeyError):
            continue  # "no limit", or a unit that OpenDRIVE does not have
    return limits
