"""The camera that all images are made by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera that looks along +x: pixels and the horizontal field of view in degrees.

    Raises ValueError where that makes no picture.
    """

    width: int = 800
    height: int = 600
    fov_deg: float = 90.0

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not 0.0 < self.fov_deg < 180.0:
            raise ValueError(
                f"cannot make a camera of {self.width} x {self.height} pixels and {self.fov_deg} degrees"
            )

    @staticmethod
    def from_attributes(values: Mapping[str, str]) -> CameraModel:
        """By a blueprint's image_size_x, image_size_y and fov; CARLA's defaults where one is missing."""
        return CameraModel(
            width=int(values.get("image_size_x", "800")),
            height=int(values.get("image_size_y", "600")),
            fov_deg=float(values.get("fov", "90.0")),
        )

    @property
    def focal_px(self) -> float:
        """The focal length in pixels."""
        return self.width / (2.0 * math.tan(math.radians(self.fov_deg) / 2.0))
