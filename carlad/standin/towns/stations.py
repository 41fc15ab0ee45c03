"""Along a lane of an OpenDRIVE text, as far as CARLA's map library knows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import carla

_STEP_M = 1.0
_MOST = 5000  # of one section
_END_GAP_M = 1e-3  # the map library finds no waypoint exactly at a road's end


def stations(start: float, end: float) -> list[float]:
    """From `start` to `end` of a lane section, in metres along its road: a metre apart, both ends too.

    No more than 5,000: in a longer section they lie further apart.
    """
    count = min(max(2, int((end - start) / _STEP_M) + 1), _MOST)
    found: list[float] = np.linspace(start + _END_GAP_M, end - _END_GAP_M, count).tolist()
    return found


def waypoints(town_map: carla.Map, road_id: int, lane_id: int, at: list[float]) -> tuple[carla.Waypoint, ...]:
    """Of the lane at those stations where it is; none of a road that the library could not read."""
    try:
        found = [town_map.get_waypoint_xodr(road_id, lane_id, station) for station in at]
    except IndexError:
        return ()
    return tuple(waypoint for waypoint in found if waypoint is not None)


def poses(found: Iterable[carla.Waypoint]) -> npt.NDArray[np.float64]:
    """x, y, z (m, world frame), yaw (deg) and the lane's width (m) at each: float64 (n, 5)."""
    rows = []
    for waypoint in found:
        pose = waypoint.transform
        place = pose.location
        rows.append((place.x, place.y, place.z, pose.rotation.yaw, waypoint.lane_width))
    return np.array(rows, float).reshape(-1, 5)
