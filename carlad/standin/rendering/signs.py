"""Posts and plates of the traffic signs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.mesh import Color, Mesh, box, join, uniform, up, yaw_matrix
from carlad.standin.towns import Town, TrafficSign
from carlad.wire.types import CityObjectLabel as Tag

_POST: Color = (84, 88, 92)
_RED: Color = (186, 36, 40)
_WHITE: Color = (236, 236, 232)

POST_M = 2.3
_POST_THICKNESS_M = 0.04
_PLATE_M = 0.38  # from its middle to a corner
_FACE = 0.72  # of the plate's size is within its rim
_RELIEF_M = 0.05  # of the plate before its post


def sign_posts(town: Town) -> Iterator[tuple[Mesh, float]]:
    """The post of each sign, and its yaw in degrees."""
    for sign in town.signs:
        half = (_POST_THICKNESS_M, _POST_THICKNESS_M, POST_M / 2)
        yield box(_foot(sign) + up(POST_M / 2), half, _facing(sign), Tag.POLES, _POST), _facing(sign)


def sign_plates(town: Town) -> Iterator[tuple[Mesh, float]]:
    """The plate of each sign, and its yaw in degrees: an octagon, a triangle on its tip, or a disc."""
    for sign in town.signs:
        corners, turn_deg, face = _look(sign)
        layers = (
            (_fan(corners, turn_deg, _RELIEF_M, _PLATE_M), _RED),
            (_fan(corners, turn_deg, _RELIEF_M + 0.01, _PLATE_M * _FACE), face),
            (_fan(corners, turn_deg, _RELIEF_M - 0.01, _PLATE_M)[:, ::-1], _POST),
        )
        turn, foot = yaw_matrix(_facing(sign)).T, _foot(sign)
        plate = join(uniform(fan @ turn + foot, Tag.TRAFFIC_SIGNS, color) for fan, color in layers)
        yield plate, _facing(sign)


def _look(sign: TrafficSign) -> tuple[int, float, Color]:
    """Number of corners, where the first one is (deg, 0: sideways, 90: up), colour within the rim."""
    if sign.type_id == "traffic.stop":
        return 8, 22.5, _RED
    return (3, -90.0, _WHITE) if sign.type_id == "traffic.yield" else (20, 0.0, _WHITE)


def _fan(corners: int, turn_deg: float, relief: float, radius: float) -> npt.NDArray[np.float64]:
    """(corners, 3, 3), in the post's frame, facing +x."""
    angles = np.radians(turn_deg + np.arange(corners) * 360.0 / corners)
    rim = np.stack((np.full(corners, relief), radius * np.cos(angles), radius * np.sin(angles)), axis=1)
    middle = np.broadcast_to((relief, 0.0, POST_M), rim.shape)
    rim += up(POST_M)
    return np.stack((middle, rim, np.roll(rim, -1, axis=0)), axis=1)


def _foot(sign: TrafficSign) -> npt.NDArray[np.float64]:
    """(3,), metres, world frame"""
    place = sign.pose.location
    return np.array((place.x, place.y, place.z))


def _facing(sign: TrafficSign) -> float:
    """Plates look against the driving direction, which is the pose's yaw - 90 deg."""
    return sign.pose.rotation.yaw + 90.0
