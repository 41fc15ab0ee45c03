"""A road's lanes at one station, read from its OpenDRIVE element."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

from carlad.standin.towns.attributes import number, whole


@dataclass(frozen=True)
class Span:
    """One lane across the road. `inner`, `outer`: its borders' t (m, positive left of the reference line)."""

    lane_id: int
    kind: str
    inner: float
    outer: float


def spans(road: ET.Element, s: float) -> list[Span]:
    """The lanes at station `s`, from the middle outwards on the right, then on the left."""
    section = _current(road.iterfind("lanes/laneSection"), "s", s)
    if section is None:
        return []
    middle = offset(road, s)
    ds = s - number(section, "s")
    found = []
    for side, sign in (("right", -1.0), ("left", 1.0)):
        border = middle
        for lane in sorted(section.iterfind(f"{side}/lane"), key=lambda lane: abs(whole(lane, "id"))):
            outer = border + sign * _width(lane, ds)
            found.append(Span(whole(lane, "id"), lane.get("type", "none"), border, outer))
            border = outer
    return found


def kerb(road: ET.Element, s: float, right: bool) -> float:
    """t where the roadway of one side ends: at its pavement, else at its outermost lane's outer border."""
    side = [span for span in spans(road, s) if (span.lane_id < 0) == right]
    for span in side:
        if span.kind == "sidewalk":
            return span.inner
    paved = [span for span in side if span.kind != "none"]
    return paved[-1].outer if paved else offset(road, s)


def has_pavement(road: ET.Element, s: float, right: bool) -> bool:
    """Whether that side has a sidewalk of 1 m or more."""
    return any(
        span.kind == "sidewalk" and (span.lane_id < 0) == right and abs(span.outer - span.inner) >= 1.0
        for span in spans(road, s)
    )


def _width(lane: ET.Element, ds: float) -> float:
    return _cubic(_current(lane.iterfind("width"), "sOffset", ds), "sOffset", ds)


def offset(road: ET.Element, s: float) -> float:
    """t of the middle from which lanes count."""
    return _cubic(_current(road.iterfind("lanes/laneOffset"), "s", s), "s", s)


def _cubic(record: ET.Element | None, station: str, s: float) -> float:
    if record is None:
        return 0.0
    ds = s - number(record, station)
    a, b, c, d = (number(record, name) for name in "abcd")
    return a + ds * (b + ds * (c + ds * d))


def _current(records: Iterable[ET.Element], station: str, s: float) -> ET.Element | None:
    """The last record that begins at or before `s`, else the first."""
    current = None
    for record in records:
        if current is None or number(record, station) <= s:
            current = record
    return current
