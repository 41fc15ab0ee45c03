"""The moving things of one frame, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.geometry import rotation_matrices

_UNIT_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))


@dataclass(frozen=True)
class Objects:
    """One row for each vehicle, walker or prop.

    actor_id: uint32 (N,)
    tag: uint8 (N,), CARLA's CityObjectLabel; it also chooses the shape that fills the box
    color: uint8 (N, 3), RGB
    pose: float (N, 6), the actor's x, y, z in metres and pitch, yaw, roll in degrees, world frame
    center: float (N, 3), the bounding box's centre in the actor's frame, metres
    extent: float (N, 3), half sizes of the box, metres
    """

    actor_id: npt.NDArray[np.uint32]
    tag: npt.NDArray[np.uint8]
    color: npt.NDArray[np.uint8]
    pose: npt.NDArray[np.floating]
    center: npt.NDArray[np.floating]
    extent: npt.NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.actor_id)

    @cached_property
    def world_from_actor(self) -> npt.NDArray[np.float64]:
        """float (N, 3, 3), rotations"""
        return rotation_matrices(self.pose[:, 3:])

    @cached_property
    def corners(self) -> npt.NDArray[np.float64]:
        """float (N, 8, 3), of the bounding boxes, world frame; corner k has the signs of k's three bits"""
        local = _UNIT_CORNERS * self.extent[:, None] + self.center[:, None]
        world: npt.NDArray[np.float64] = local @ self.world_from_actor.transpose(0, 2, 1)
        return world + self.pose[:, None, :3]

    def distance(self, origin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float (N,), from `origin` to spheres about the boxes; negative inside"""
        middle = self.corners.mean(axis=1)
        distance: npt.NDArray[np.float64] = np.linalg.norm(middle - origin, axis=1)
        distance -= np.linalg.norm(self.extent, axis=1)
        return distance

    @staticmethod
    def none() -> Objects:
        """An empty street."""
        return Objects(
            actor_id=np.empty(0, np.uint32),
            tag=np.empty(0, np.uint8),
            color=np.empty((0, 3), np.uint8),
            pose=np.empty((0, 6)),
            center=np.empty((0, 3)),
            extent=np.empty((0, 3)),
        )
