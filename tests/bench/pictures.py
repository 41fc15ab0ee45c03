"""Route-v0 with an image beside its vector, to measure what images cost between environment and learner."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from trainer import spaces
from trainer.env.route_env import RouteEnv

_KINDS = {"bev": (10, 192, 192), "camera": (3, 128, 256)}


class Pictured(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds uint8 noise of the shape of `picture`, which takes no time to draw: its transport is measured."""

    def __init__(self, config: dict[str, Any] | None = None, picture: str = "bev") -> None:
        super().__init__(RouteEnv(config))
        shape = _KINDS[picture]
        boxes = spaces.boxes(self.env.observation_space)
        self.observation_space = gymnasium.spaces.Dict(
            {**boxes, picture: gymnasium.spaces.Box(0, 255, shape, np.uint8)}
        )
        self._picture = picture
        rng = np.random.default_rng(0)
        self._images = [rng.integers(0, 256, shape, np.uint8) for _ in range(8)]
        self._count = 0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**arguments)
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, *rest = self.env.step(action)
        return self._seen(observation), *rest

    def _seen(self, observation: Any) -> dict[str, Any]:
        self._count += 1
        return {**spaces.parts(observation), self._picture: self._images[self._count % len(self._images)]}
