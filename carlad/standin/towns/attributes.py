"""An OpenDRIVE text and the numbers in its attributes, as CARLA's map library reads them (pugixml's
`as_double`, `as_int` and `as_uint`): as far as one is a number, and 0 where it does not begin so.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

_WHOLE = re.compile(r"\s*([+-]?[0-9]+)")
_NUMBER = re.compile(r"\s*([+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|nan))", re.IGNORECASE)
# The elements that say where roads and lanes lie: what counts of their attributes are numbers.
_LINE = {"geometry", "line", "arc", "spiral", "poly3", "paramPoly3", "elevation", "superelevation", "shape"}
_LANES = {"laneOffset", "laneSection", "width", "border", "height"}


def parsed(xodr: str) -> ET.Element:
    """Its root. Raises ET.ParseError and UnicodeError. Whatever it says of its encoding, it is a string."""
    return ET.fromstring(xodr)


def number(element: ET.Element, name: str) -> float:
    found = _NUMBER.match(element.get(name, ""))
    return float(found[1]) if found else 0.0


def whole(element: ET.Element, name: str, missing: int = 0) -> int:
    """`missing`: where there is no such attribute. The nearest that 32 bits hold."""
    return max(-(2**31), min(_whole(element.get(name, str(missing))), 2**31 - 1))


def road_id(road: ET.Element) -> int:
    """The library has them without a sign."""
    return max(0, min(_whole(road.get("id", "")), 2**32 - 1))


def _whole(text: str) -> int:
    found = _WHOLE.match(text)
    return int(found[1]) if found else 0


def unbounded(document: ET.Element) -> str | None:
    """The first infinite number, or none at all, that says where a road lies, in one clause: the library
    takes it.
    """
    for road in document.iterfind("road"):
        for element, name in _numbers(road):
            if not math.isfinite(number(element, name)):
                given = f"{name}={element.get(name)!r}"
                return f"road {road.get('id')} has {given} in its {element.tag}, which is not finite"
    return None


def _numbers(road: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    yield road, "length"
    for element in road.iter():
        if element.tag in _LINE | _LANES:
            yield from ((element, name) for name in element.attrib)
