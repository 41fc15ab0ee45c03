"""The moving things of one frame, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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
