"""The task of learners that are compared. Without PyTorch: environments' processes need none."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from carlad.session.environment import Server
from trainer.env.route_env import RouteEnv

ROUTE = {"route_min_m": 50.0, "route_max_m": 120.0}
SLOWER = 3


class SlowRoute(RouteEnv):
    """`SLOWER` times as slow, as one on a slower machine would be: it waits, and takes no processor."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        started_s = time.perf_counter()
        result = super().step(action)
        time.sleep((SLOWER - 1) * (time.perf_counter() - started_s))
        return result


class StateRoute(gymnasium.ObservationWrapper[NDArray[np.float32], Any, Any]):
    """The vector `state` alone, for libraries whose networks take no Dict without further cost."""

    def __init__(self, server: Server, slow: bool) -> None:
        env = (SlowRoute if slow else RouteEnv)(ROUTE)
        env.attach(server)
        super().__init__(env)
        self.observation_space = env.observation_space["state"]

    def observation(self, observation: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return observation["state"]
