"""Every lane of a map, sampled: what roads, pavements and markings are built from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import carla
import numpy as np
import numpy.typing as npt

from carlad.standin.towns.attributes import number, parsed, road_id, whole
from carlad.standin.towns.stations import poses, stations, waypoints

_OVERLAP_M = 0.02  # by which a lane reaches into the next, so that no ray slips between them
_LANES_WITHOUT_SURFACE = frozenset({"none", "restricted"})


@dataclass(frozen=True)
class Lane:
    """One lane of one section, in its driving direction.

    center, left, right: float (n, 3), the middle and the borders, metres, world frame
    aside: float (n, 3), the unit vector across the lane, to its right
    """

    road_id: int
    lane_id: int
    kind: str  # OpenDRIVE's lane type
    junction: str | None
    waypoints: tuple[carla.Waypoint, ...]
    center: npt.NDArray[np.float64]
    left: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]
    aside: npt.NDArray[np.float64]

    @property
    def is_sidewalk(self) -> bool:
        return self.kind == "sidewalk"


def lanes_of(town_map: carla.Map, xodr: str) -> Iterator[Lane]:
    """All lanes with a surface; the map library lists driving lanes only, hence the text."""
    for road in parsed(xodr).iterfind("road"):
        length, junction = number(road, "length"), road.get("junction", "-1")
        sections = road.findall("lanes/laneSection")
        starts = [number(section, "s") for section in sections] + [length]
        for section, (start, end) in zip(sections, pairwise(starts), strict=True):
            at = stations(start, end)
            for element in section.iter("lane"):
                kind = element.get("type", "none")
                lane_id = whole(element, "id")
                if lane_id == 0 or kind in _LANES_WITHOUT_SURFACE:
                    continue
                found = waypoints(town_map, road_id(road), lane_id, at)
                if len(found) < 2:
                    continue
                onwards = found[::-1] if lane_id > 0 else found
                table = poses(onwards)
                if np.isfinite(table).all():  # as it is unless a map's numbers are beyond all measure
                    yield _lane(onwards, table, kind, None if junction == "-1" else junction)


def _lane(
    onwards: tuple[carla.Waypoint, ...], table: npt.NDArray[np.float64], kind: str, junction: str | None
) -> Lane:
    center, yaw, width = table[:, :3], np.radians(table[:, 3]), table[:, 4]
    along = np.stack((np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)), axis=1)
    center[0] -= along[0] * _OVERLAP_M
    center[-1] += along[-1] * _OVERLAP_M
    aside = np.stack((-along[:, 1], along[:, 0], along[:, 2]), axis=1)
    to_right = aside * (width[:, None] / 2)
    return Lane(
        road_id=onwards[0].road_id,
        lane_id=onwards[0].lane_id,
        kind=kind,
        junction=junction,
        waypoints=onwards,
        center=center,
        left=center - to_right,
        right=center + to_right,
        aside=aside,
    )
