"""Who drives in an evaluation: a trained policy, or one of those that it must be better than."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from carlad.errors import ConfigError
from trainer import spaces
from trainer.policy import Policy

BASELINES = ("random", "straight")
_STRAIGHT = (0.0, 0.5)  # steer and acceleration: half throttle, which ends above 8 m/s

Drive = Callable[[Any], Any]
"""The action for an observation."""


class Driver(Protocol):
    """Says how to drive an episode; the same for the same seed and observations."""

    def begin(self, seed: int) -> Drive: ...


class Greedy:
    """A policy's most probable actions.

    One observation at a time, so that rounding does not depend on which others come with it.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def begin(self, seed: int) -> Drive:
        return self._best

    def _best(self, observation: Any) -> Any:
        observed = spaces.parts(observation)
        batch = {key: torch.as_tensor(part)[None].to(self._policy.device) for key, part in observed.items()}
        return self._policy.to_env(self._policy.best(batch).cpu().numpy())[0]


class Random:
    """Any action, each as likely as the others."""

    def __init__(self, actions: spaces.Action) -> None:
        self._actions = actions

    def begin(self, seed: int) -> Drive:
        rng = np.random.default_rng(seed)
        actions = self._actions
        if isinstance(actions, Discrete):
            return lambda _: actions.start + rng.integers(actions.n)
        return lambda _: rng.uniform(actions.low, actions.high).astype(actions.dtype)


class Straight:
    """Half throttle and no steering, or what comes nearest to it in the table of actions."""

    def __init__(self, actions: spaces.Action, table: tuple[tuple[float, float], ...]) -> None:
        """Raises ConfigError for actions that are neither steering and acceleration nor the table's."""
        if isinstance(actions, Discrete) and len(table) == actions.n:
            away = [abs(steer) + abs(pedal - _STRAIGHT[1]) for steer, pedal in table]
            self._action: Any = actions.start + np.int64(np.argmin(away))
        elif isinstance(actions, Box) and actions.shape == (2,):
            self._action = np.asarray(_STRAIGHT, actions.dtype)
        else:
            raise ConfigError(f"cannot drive straight in {actions}: it is not steering and acceleration")

    def begin(self, seed: int) -> Drive:
        return lambda _: self._action


def baseline(name: str, actions: spaces.Action, table: tuple[tuple[float, float], ...]) -> Driver:
    """The one of BASELINES with that name."""
    return Random(actions) if name == "random" else Straight(actions, table)
