"""Coloured triangles, and the few solids of which the towns are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.wire.types import CityObjectLabel

Color = tuple[int, int, int]

# Corners of the box [-1, 1]^3, two triangles a face; cross(b - a, c - a) points outwards.
_UNIT_BOX_QUADS = (
    ((1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)),
    ((-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)),
    ((1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)),
    ((-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)),
    ((-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)),
    ((1, -1, -1), (-1, -1, -1), (-1, 1, -1), (1, 1, -1)),
)
_QUAD = (0, 1, 2, 0, 2, 3)


@dataclass(frozen=True)
class Mesh:
    """A soup of triangles.

    corners: float32 (T, 3, 3), metres; cross(second - first, third - first) points outwards
    tag: uint8 (T,), CityObjectLabel
    color: uint8 (T, 3), RGB
    """

    corners: npt.NDArray[np.float32]
    tag: npt.NDArray[np.uint8]
    color: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def normals(self) -> npt.NDArray[np.float32]:
        """float32 (T, 3), unit length, outwards; zeros for a triangle without area."""
        first, second, third = np.moveaxis(self.corners, 1, 0)
        across = np.cross(second - first, third - first)
        length = np.linalg.norm(across, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
        return unit


def uniform(corners: npt.ArrayLike, tag: CityObjectLabel, color: Color) -> Mesh:
    """Triangles (T, 3, 3) of one tag and colour."""
    shaped = np.asarray(corners, dtype=np.float32).reshape(-1, 3, 3)
    count = len(shaped)
    return Mesh(
        corners=shaped,
        tag=np.full(count, tag, np.uint8),
        color=np.tile(np.array(color, np.uint8), (count, 1)),
    )


def join(meshes: Iterable[Mesh]) -> Mesh:
    parts = [*meshes, uniform((), CityObjectLabel.NONE, (0, 0, 0))]
    return Mesh(
        corners=np.concatenate([part.corners for part in parts]),
        tag=np.concatenate([part.tag for part in parts]),
        color=np.concatenate([part.color for part in parts]),
    )


def quads(corners: npt.ArrayLike, tag: CityObjectLabel, color: Color) -> Mesh:
    """Quadrilaterals (Q, 4, 3), corners in turn."""
    return uniform(np.asarray(corners, dtype=np.float32).reshape(-1, 4, 3)[:, _QUAD], tag, color)


def strip(
    left: npt.NDArray[np.floating], right: npt.NDArray[np.floating], tag: CityObjectLabel, color: Color
) -> Mesh:
    """The band between two polylines (n, 3), facing up where `right` lies right of the way along."""
    return quads(np.stack((left[:-1], left[1:], right[1:], right[:-1]), axis=1), tag, color)


def box(
    center: npt.ArrayLike, extent: npt.ArrayLike, yaw_deg: float, tag: CityObjectLabel, color: Color
) -> Mesh:
    """An upright box, by its half sizes, turned about its vertical axis."""
    corners = np.array(_UNIT_BOX_QUADS, dtype=np.float64) * np.asarray(extent, dtype=np.float64)
    return quads(corners @ yaw_matrix(yaw_deg).T + np.asarray(center, dtype=np.float64), tag, color)


def yaw_matrix(yaw_deg: float) -> npt.NDArray[np.float64]:
    """(3, 3), turns x towards y for a positive angle."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


def up(height_m: float) -> npt.NDArray[np.float64]:
    """(3,)"""
    return np.array((0.0, 0.0, height_m))
