"""Where the pavements of a map run: the borders of its sidewalk lanes, and of the road between them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from carlad.standin.navigation.convex import Point, Polygon, area
from carlad.standin.towns.attributes import number, road_id, whole
from carlad.standin.towns.stations import poses, stations, waypoints

if TYPE_CHECKING:
    import carla

Points = npt.NDArray[np.float64]
Lanes = tuple[int, int]  # the innermost and the outermost of a run

INSET_M = 0.3  # walkers keep this far from kerb and wall: CARLA's agent radius
FAR_M = 100_000.0  # what lies further from the origin is a mistake in the map
_BEND_M = 0.12  # a strip's straight pieces stray no further from the border
PIECE_M = 25.0  # the longest: a path may hold 256 of them
_DEGENERATE_M = 0.05


@dataclass(frozen=True)
class Strip:
    """A surface between two lines: points at the same stations, float64 (n, 3), metres, world frame.

    Stations follow the road's reference line. `inner` is the line that is nearer to it.
    """

    inner: Points
    outer: Points

    def pieces(self) -> Iterator[Polygon]:
        """Quads from one end to the other, counter-clockwise from above; some may not be convex.

        Triangles where one of the lines stands still.
        """
        for (a, b), (d, c) in zip(pairwise(_points(self.inner)), pairwise(_points(self.outer)), strict=True):
            quad = tuple(dict.fromkeys((a, b, c, d)))
            yield quad if area(quad) > 0.0 else quad[::-1]


@dataclass(frozen=True)
class Section:
    """The pavements of one lane section. `left` and `right` are as seen along the reference line.

    Stations are shared by all strips. `junction_id` is the junction that the road lies in; `starts_in` and
    `ends_in` are those that it leads from and to, where this is its first or last section.
    """

    left: tuple[Strip, ...]
    right: tuple[Strip, ...]
    junction_id: str | None
    starts_in: str | None
    ends_in: str | None

    @property
    def roadway(self) -> Strip | None:
        """What lies between the pavements of both sides."""
        if not self.left or not self.right:
            return None
        return Strip(self.left[0].inner, self.right[0].inner)


def sections(town_map: carla.Map, document: ET.Element) -> Iterator[Section]:
    """Every lane section that has a sidewalk; `document` is the OpenDRIVE root element of `town_map`."""
    for road in document.iterfind("road"):
        parts = road.findall("lanes/laneSection")
        starts = [number(part, "s") for part in parts] + [number(road, "length")]
        junction = road.get("junction", "-1")
        for i, (part, (start, end)) in enumerate(zip(parts, pairwise(starts), strict=True)):
            sidewalks = _sidewalks(part)
            if not sidewalks or end - start < _DEGENERATE_M:
                continue
            strips = _strips(town_map, road_id(road), sidewalks, start, end)
            yield Section(
                left=tuple(strip for lanes, strip in strips if lanes[0] > 0),
                right=tuple(strip for lanes, strip in strips if lanes[0] < 0),
                junction_id=None if junction == "-1" else junction,
                starts_in=_junction_at(road, "predecessor") if i == 0 else None,
                ends_in=_junction_at(road, "successor") if i == len(parts) - 1 else None,
            )


def _sidewalks(section: ET.Element) -> list[Lanes]:
    """The innermost and outermost lane id of each run of sidewalks side by side; inner runs first."""
    lanes = (whole(lane, "id") for lane in section.iter("lane") if lane.get("type") == "sidewalk")
    runs: list[Lanes] = []
    for lane in sorted(lanes, key=lambda lane: (lane < 0, abs(lane))):
        if runs and abs(lane) == abs(runs[-1][1]) + 1 and lane * runs[-1][1] > 0:
            runs[-1] = (runs[-1][0], lane)
        elif lane:
            runs.append((lane, lane))
    return runs


def _junction_at(road: ET.Element, end: str) -> str | None:
    link = road.find(f"link/{end}")
    return link.get("elementId") if link is not None and link.get("elementType") == "junction" else None


def _strips(
    town_map: carla.Map, road_id: int, sidewalks: list[Lanes], start: float, end: float
) -> list[tuple[Lanes, Strip]]:
    """A strip for each sidewalk, all at the same stations; none where the map library knows no such lane."""
    at = stations(start, end)
    borders = []
    for lanes in sidewalks:
        innermost = poses(waypoints(town_map, road_id, lanes[0], at))
        alone = lanes[0] == lanes[1]
        outermost = innermost if alone else poses(waypoints(town_map, road_id, lanes[1], at))
        if len(innermost) == len(outermost) == len(at) and np.abs([innermost, outermost]).max() < FAR_M:
            borders.append((lanes, _border(innermost, -1.0), _border(outermost, 1.0)))
    if not borders:
        return []
    kept = _bends([line for _, inner, outer in borders for line in (inner, outer)])
    return [(lanes, Strip(inner[kept], outer[kept])) for lanes, inner, outer in borders]


def _border(lane: Points, side: float) -> Points:
    """The right (1) or left (-1) border of a lane in its driving direction, drawn in by the inset.

    On either side of the road the right border is the outer one.
    """
    center, yaw, width = lane[:, :3], np.radians(lane[:, 3]), lane[:, 4]
    to_right = np.stack((-np.sin(yaw), np.cos(yaw), np.zeros_like(yaw)), axis=1)
    reach = width / 2 - np.minimum(INSET_M, width / 4)
    return center + to_right * (side * reach)[:, None]


def _bends(lines: list[Points]) -> list[int]:
    """The stations at which straight pieces through all lines have to begin and end, by Douglas-Peucker."""
    stacked = np.stack(lines, axis=1)  # (stations, lines, 3)
    kept = [0]
    _split(stacked, 0, len(stacked) - 1, kept)
    return kept


def _split(lines: Points, first: int, last: int, kept: list[int]) -> None:
    """Append the stations after `first` up to `last` that are needed."""
    if last - first > 1:
        begin, chord = lines[first], lines[last] - lines[first]
        share = np.linspace(0.0, 1.0, last - first + 1)[1:-1, None, None]
        stray = np.linalg.norm(lines[first + 1 : last] - begin - share * chord, axis=2).max(axis=1)
        worst = int(stray.argmax())
        long = float(np.linalg.norm(chord, axis=1).max()) > PIECE_M
        if long or stray[worst] > _BEND_M:
            middle = (first + last) // 2 if long else first + 1 + worst
            _split(lines, first, middle, kept)
            _split(lines, middle, last, kept)
            return
    kept.append(last)


def _points(line: Points) -> list[Point]:
    return [(x, y, z) for x, y, z in line.tolist()]
