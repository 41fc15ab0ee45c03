"""Posts and lamps of the traffic lights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.mesh import Color, Mesh, box, join, quads, up, yaw_matrix
from carlad.standin.towns import Town, TrafficLight
from carlad.wire.types import CityObjectLabel as Tag
from carlad.wire.types import TrafficLightState, Transform

_POST: Color = (84, 88, 92)
_HEAD: Color = (38, 40, 42)
_HEAD_HEIGHTS_M = (3.0, 5.4)  # one for the drivers who wait, one that is seen from afar
HEAD_EXTENT_M = (0.16, 0.2, 0.55)
POST_M = _HEAD_HEIGHTS_M[-1] + HEAD_EXTENT_M[2]
_ARM_M = 0.2  # from the post to the middle of a head
_LAMP_M = 0.14  # half a side
_LAMPS = (TrafficLightState.RED, TrafficLightState.YELLOW, TrafficLightState.GREEN)
_LIT: dict[int, Color] = {
    TrafficLightState.RED: (255, 46, 34),
    TrafficLightState.YELLOW: (255, 196, 40),
    TrafficLightState.GREEN: (52, 240, 110),
}
_DARK = 0.22  # of its colour is left of a lamp that is off

TRIANGLES_PER_LIGHT = 2 * len(_LAMPS) * len(_HEAD_HEIGHTS_M)


def posts(town: Town) -> Iterator[tuple[Mesh, float]]:
    """A post for each light, and its yaw in degrees."""
    for light in town.lights:
        yaw = _facing(light)
        yield box(_foot(light) + up(POST_M / 2), (0.07, 0.07, POST_M / 2), yaw, Tag.POLES, _POST), yaw


def heads(town: Town) -> Iterator[tuple[Mesh, float]]:
    """The two heads of each light, and their yaw in degrees."""
    for light in town.lights:
        yaw, centers = _facing(light), head_centers(light.pose)
        yield join(box(center, HEAD_EXTENT_M, yaw, Tag.TRAFFIC_LIGHT, _HEAD) for center in centers), yaw


def head_centers(pose: Transform) -> list[npt.NDArray[np.float64]]:
    """Middles (3,) of the heads of a light at `pose`, metres, world frame."""
    place, turn = pose.location, yaw_matrix(pose.rotation.yaw + 90.0)
    foot = np.array((place.x, place.y, place.z))
    return [foot + up(height) + turn @ (_ARM_M, 0, 0) for height in _HEAD_HEIGHTS_M]


def lamps(town: Town) -> Iterator[Mesh]:
    """`TRIANGLES_PER_LIGHT` triangles for each light, in the order of `town.lights`."""
    for light in town.lights:
        place, yaw = light.pose.location, _facing(light)
        panes = [_lamp(height, row) for height in _HEAD_HEIGHTS_M for row in range(len(_LAMPS))]
        corners = np.array(panes) @ yaw_matrix(yaw).T + (place.x, place.y, place.z)
        yield quads(corners, Tag.TRAFFIC_LIGHT, _HEAD)


@lru_cache(maxsize=64)
def lamp_colors(states: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """uint8 (TRIANGLES_PER_LIGHT * lights, 3), RGB, for `lamps` of lights in these states."""
    rows = [
        _LIT[lamp] if lamp == state else tuple(int(part * _DARK) for part in _LIT[lamp])
        for state in states
        for _head in _HEAD_HEIGHTS_M
        for lamp in _LAMPS
    ]
    return np.repeat(np.array(rows, np.uint8).reshape(-1, 3), 2, axis=0)


def _foot(light: TrafficLight) -> npt.NDArray[np.float64]:
    """(3,), metres, world frame"""
    place = light.pose.location
    return np.array((place.x, place.y, place.z))


def _facing(light: TrafficLight) -> float:
    """The lamps look against the driving direction, which is the pose's yaw - 90 deg."""
    return light.pose.rotation.yaw + 90.0


def _lamp(height: float, row: int) -> npt.NDArray[np.float64]:
    """(4, 3), in the post's frame, facing +x; red is uppermost."""
    x, z = _ARM_M + HEAD_EXTENT_M[0] + 0.01, height + 0.34 * (1 - row)
    w = _LAMP_M
    return np.array(((x, -w, z - w), (x, w, z - w), (x, w, z + w), (x, -w, z + w)))
