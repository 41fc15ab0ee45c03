"""Where a place of the world lies on the screen.

CARLA's ground plane has x to the east and y to the south; a screen has x to the right and y down. Both turn
the same way, so the world is only moved and scaled, never mirrored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCALE_MIN, SCALE_MAX = 0.5, 60.0  # px/m: a town of 2 km, and a car that fills a third of the window


@dataclass(frozen=True)
class ViewFromWorld:
    """Pixels of a view from metres of the world. Whole pixels apart when only the centre differs."""

    x: float = 0.0
    """World x (metres, east) at the view's centre."""
    y: float = 0.0
    """World y (metres, south) at the view's centre."""
    scale: float = 8.0
    """Pixels a metre."""
    width: int = 800
    height: int = 600

    @property
    def offset(self) -> tuple[int, int]:
        """The pixel at which the world's origin lies."""
        return self.width // 2 - round(self.x * self.scale), self.height // 2 - round(self.y * self.scale)

    def points(self, world: ArrayLike) -> NDArray[np.float64]:
        """Pixels (N, 2) of metres (N, 2)."""
        return np.asarray(world, np.float64) * self.scale + self.offset

    def world(self, pixel: tuple[float, float]) -> tuple[float, float]:
        """The place in metres under a pixel."""
        return (pixel[0] - self.offset[0]) / self.scale, (pixel[1] - self.offset[1]) / self.scale

    def centred(self, x: float, y: float) -> ViewFromWorld:
        """The same view over another place; a place that is not finite leaves it where it is."""
        return replace(self, x=x, y=y) if math.isfinite(x) and math.isfinite(y) else self

    def sized(self, width: int, height: int) -> ViewFromWorld:
        """The same place and scale in another window."""
        return replace(self, width=width, height=height)

    def zoomed(self, factor: float, at: tuple[float, float]) -> ViewFromWorld:
        """Closer by `factor`, with the place under the pixel `at` staying there."""
        scale = min(SCALE_MAX, max(SCALE_MIN, self.scale * factor))
        x, y = self.world(at)
        kept = self.scale / scale
        return replace(self, x=x + (self.x - x) * kept, y=y + (self.y - y) * kept, scale=scale)

    def dragged(self, right_px: float, down_px: float) -> ViewFromWorld:
        """The view after its picture was pulled by so many pixels."""
        return replace(self, x=self.x - right_px / self.scale, y=self.y - down_px / self.scale)
