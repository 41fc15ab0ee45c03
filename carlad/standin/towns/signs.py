"""The traffic signs of a town: stop, yield and speed limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import carla

from carlad.standin.towns.furnish import SPEED_LIMIT, STOP, YIELD
from carlad.standin.towns.lights import StopLine, natural, pose_of, stop_lines_of
from carlad.wire.types import Transform

_BLUEPRINTS = {STOP: "traffic.stop", YIELD: "traffic.yield"}


@dataclass(frozen=True)
class TrafficSign:
    """One static OpenDRIVE signal of type 205, 206 or 274.

    `type_id` is that of the actor that CARLA makes of it. `pose` is the foot of its post, turned as a
    traffic light's. `stop_lines` are where it applies to each lane. `speed_kmh` is None but for limits.
    """

    signal_id: str
    type_id: str
    pose: Transform
    stop_lines: tuple[StopLine, ...]
    speed_kmh: float | None = None


def traffic_signs(town_map: carla.Map) -> tuple[TrafficSign, ...]:
    """In order of the signals' ids."""
    return tuple(sorted(_signs(town_map), key=lambda sign: natural(sign.signal_id)))


def _signs(town_map: carla.Map) -> Iterator[TrafficSign]:
    known = set()
    for landmark in town_map.get_all_landmarks():
        if landmark.type not in (*_BLUEPRINTS, SPEED_LIMIT) or landmark.id in known:
            continue
        known.add(landmark.id)
        lines = stop_lines_of(town_map, [landmark])
        pose = pose_of(landmark, lines)
        if landmark.type in _BLUEPRINTS:
            yield TrafficSign(landmark.id, _BLUEPRINTS[landmark.type], pose, lines)
        else:
            type_id = f"traffic.speed_limit.{landmark.value:.0f}"
            yield TrafficSign(landmark.id, type_id, pose, lines, _kmh(landmark))


def _kmh(landmark: carla.Landmark) -> float:
    return float(landmark.value) * (1.609344 if landmark.unit == "mph" else 1.0)
