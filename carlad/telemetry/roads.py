"""A map's lanes as viewers draw them, read from an object like `carla.Map`, which works without a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from carlad.telemetry.bundle import Lane, Lanes

_SIDE_LANES_MAX = 8  # lanes beside a driving lane that are followed outwards: shoulder, parking, sidewalk


def lanes_of(carla_map: Any, step_m: float = 2.0) -> Lanes:
    """Every driving lane of `carla_map`, and the lanes of other kinds at its right, sampled each `step_m`.

    Takes tens of milliseconds for a town: call it once a map.
    """
    starts = {_key(waypoint): waypoint for waypoint in _starts(carla_map.get_topology())}
    lanes = [lane for waypoint in starts.values() if (lane := _lane(waypoint, step_m)) is not None]
    return Lanes(carla_map.name, lanes)


def _starts(topology: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    for start, _ in topology:
        yield start
        beside = start.get_right_lane()
        for _ in range(_SIDE_LANES_MAX):
            if beside is None or str(beside.lane_type) == "Driving":
                break
            yield beside
            beside = beside.get_right_lane()


def _key(waypoint: Any) -> tuple[int, int, int]:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _lane(start: Any, step_m: float) -> Lane | None:
    """The lane from `start` to its end; None where it is shorter than two samples."""
    waypoints = [start, *start.next_until_lane_end(step_m)]
    if len(waypoints) < 2:
        return None
    centre = np.array([(w.transform.location.x, w.transform.location.y) for w in waypoints])
    yaw = np.radians([w.transform.rotation.yaw for w in waypoints])
    half_width = np.array([[w.lane_width / 2] for w in waypoints])
    to_right = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1) * half_width
    marked = not start.is_junction
    return Lane(
        left=(centre - to_right).astype(np.float32),
        right=(centre + to_right).astype(np.float32),
        kind=str(start.lane_type).lower(),
        left_mark=_mark(start.left_lane_marking) if marked else "none",
        right_mark=_mark(start.right_lane_marking) if marked else "none",
    )


def _mark(marking: Any) -> str:
    """OpenDRIVE's marking as one of three: "SolidBroken" and the like count as solid."""
    kind = "NONE" if marking is None else str(marking.type)
    return "none" if kind in ("NONE", "Other") else "broken" if kind.startswith("Broken") else "solid"
