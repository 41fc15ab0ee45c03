"""The layouts of the bird's-eye view: which channels it has, and how large a view is."""

from __future__ import annotations

import math
from typing import NamedTuple

from trainer.env.config import BevConfig

LAYERS = {
    "carl": (
        *("road", "route", "lane_markings", "vehicles", "walkers", "lights", "stop_signs", "speed_signs"),
        *("static", "shoulder"),
    ),
    "roach": (
        *("road", "route", "lane_markings"),
        *(
            f"{what}_{ago}"
            for what in ("vehicles", "walkers", "lights")
            for ago in ("1.5s", "1.0s", "0.5s", "now")
        ),
    ),
}


class Layout(NamedTuple):
    """A layout with its sizes."""

    name: str
    channels: int
    size_px: int
    px_per_m: float
    behind_px: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size_px, self.size_px

    @property
    def reach_m(self) -> float:
        """How far from the vehicle there may be something to see."""
        ahead_px = max(self.size_px - self.behind_px, self.behind_px)
        return math.hypot(ahead_px, self.size_px / 2) / self.px_per_m


def layout(config: BevConfig) -> Layout:
    """The configured layout. Raises ValueError where the vehicle would be outside the picture."""
    known = {"carl": Layout("carl", 10, 256, 2.0, 100), "roach": Layout("roach", 15, 192, 5.0, 40)}
    chosen = known[config.layout]
    size = config.size_px or chosen.size_px
    behind = config.behind_px or round(chosen.behind_px * size / chosen.size_px)
    if behind >= size:
        raise ValueError(
            f"cannot use the environment's configuration: observe.bev.behind_px {behind} is not below the "
            f"size, {size}"
        )
    return chosen._replace(size_px=size, px_per_m=config.px_per_m or chosen.px_per_m, behind_px=behind)
