"""A town's triangles in tiles of a map's grid, so that a camera draws only those before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.geometry import FloatArray
from carlad.standin.rendering.mesh import Mesh

_SIDE_M = 48.0  # about what a street's width and its houses take


@dataclass(frozen=True)
class Tiles:
    """`order` puts the triangles of one tile next to each other; tile k has `first[k]` to `first[k + 1]`.

    center: float (K, 3), radius: float (K,), of spheres about the tiles; triangles larger than a tile
    share the last one, whose sphere has no end.
    """

    order: npt.NDArray[np.intp]
    first: npt.NDArray[np.intp]
    center: FloatArray
    radius: FloatArray

    @classmethod
    def of(cls, mesh: Mesh) -> Tiles:
        middle = mesh.corners.mean(axis=1, dtype=np.float64)
        reach = np.linalg.norm(mesh.corners - middle[:, None], axis=2).max(axis=1, initial=0.0)
        cell = np.floor(middle[:, :2] / _SIDE_M).astype(np.int64)
        cell[reach > _SIDE_M] = np.iinfo(np.int64).max
        order = np.lexsort((cell[:, 1], cell[:, 0]))
        steps = (np.diff(cell[order], axis=0) != 0).any(axis=1)
        first = np.unique((0, *(np.flatnonzero(steps) + 1), len(order)))
        center = np.zeros((len(first) - 1, 3))
        radius = np.zeros(len(first) - 1)
        for k in range(len(radius)):
            rows = order[first[k] : first[k + 1]]
            center[k] = (middle[rows].min(axis=0) + middle[rows].max(axis=0)) / 2
            radius[k] = (np.linalg.norm(middle[rows] - center[k], axis=1) + reach[rows]).max(initial=0.0)
        if len(order) and cell[order[-1], 0] == np.iinfo(np.int64).max:
            radius[-1] = np.inf
        return cls(order, first, center, radius)

    def seen(
        self, origin: FloatArray, turn: FloatArray, half_width: float, half_height: float
    ) -> list[tuple[int, int]]:
        """Runs of triangles, from and to in `order`, that may be seen by a camera at `origin`.

        `turn` has the camera's forward, right and up as columns; the halves are of its image on the plane
        x = 1.
        """
        ahead, right, up = ((self.center - origin) @ turn).T
        seen = ahead > -self.radius
        for side, half in ((np.abs(right), half_width), (np.abs(up), half_height)):
            seen &= side - half * ahead < self.radius * np.hypot(1.0, half)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], seen, [False]))))
        return [(int(self.first[a]), int(self.first[b])) for a, b in edges.reshape(-1, 2)]
