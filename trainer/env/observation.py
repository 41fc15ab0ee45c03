"""The observation of Route-v0: which parts it has, their spaces, and how they are made from a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from trainer.env import state
from trainer.env.bev import BirdsEyeView
from trainer.env.config import RouteConfig
from trainer.env.layouts import layout
from trainer.env.moment import Moment

Array = NDArray[Any]

_STATES: dict[str, tuple[Callable[[Moment], Array], int, float]] = {
    "route": (state.route_state, state.ROUTE_SIZE, state.LIMIT),
    "carl": (state.carl_state, state.CARL_SIZE, state.SPEED_LIMIT),
    "roach": (state.roach_state, state.ROACH_SIZE, state.SPEED_LIMIT),
}


def spaces(config: RouteConfig) -> dict[str, Box]:
    """The space of each part, in the configured order."""
    observe, camera, lidar = config.observe, config.observe.camera, config.observe.lidar
    _, size, limit = _STATES[observe.state]
    image = camera.height_px, camera.width_px
    if lidar.form == "pillars":
        cloud = _masks(3, lidar.size_px, lidar.size_px)
    else:
        cloud = Box(-lidar.range_m - 1, lidar.range_m + 1, (lidar.points, 4), np.float32)
    rows = observe.truth_actors * state.TRUTH_PER_ACTOR
    known = {
        "state": Box(-limit, limit, (size,), np.float32),
        "truth": Box(-state.LIMIT, state.LIMIT, (rows,), np.float32),
        "bev": _masks(*layout(observe.bev).shape),
        "camera": _masks(3, *image),
        "depth": _masks(1, *image),
        "semantic": _masks(1, *image),
        "lidar": cloud,
    }
    return {key: known[key] for key in observe.keys}


class Observer:
    """Makes one episode's observations."""

    def __init__(self, config: RouteConfig, bev: BirdsEyeView | None) -> None:
        """`bev`: None where nobody asks for the bird's-eye view."""
        self._observe = config.observe
        self._state = _STATES[config.observe.state][0]
        self._bev = bev

    def parts(self, moment: Moment, readings: dict[str, Array]) -> dict[str, Array]:
        """The parts of a moment; `readings` are the sensors' own."""
        return {key: self._part(key, moment, readings) for key in self._observe.keys}

    def _part(self, key: str, moment: Moment, readings: dict[str, Array]) -> Array:
        if key == "state":
            return self._state(moment)
        if key == "bev":
            assert self._bev is not None
            return self._bev.masks(moment)
        if key == "truth":
            return state.truth(moment, self._observe.truth_actors)
        return readings[key]


def space_of(config: RouteConfig) -> gymnasium.spaces.Dict:
    """A Dict of the parts."""
    return gymnasium.spaces.Dict(dict(spaces(config)))


def _masks(channels: int, height: int, width: int) -> Box:
    return Box(0, 255, (channels, height, width), np.uint8)
