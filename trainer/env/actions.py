"""The actions of Route-v0: continuous, or numbers into a table."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from trainer.env.config import RouteConfig
from trainer.env.moment import Action


def space(config: RouteConfig) -> gymnasium.Space[Any]:
    """`Box(-1, 1, (2,), float32)`, steering and acceleration, or `Discrete(n)` where there is a table."""
    if config.action_table:
        return gymnasium.spaces.Discrete(len(config.action_table))
    return gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def decoded(config: RouteConfig, action: Any) -> Action:
    """What an element of the space means; numbers beyond the bounds are clipped.

    Raises ValueError for one that is no element: NaN, infinity, a wrong shape, a number that the table lacks.
    """
    if config.action_table:
        return Action(*config.action_table[_number(action, len(config.action_table))])
    try:
        steer, acceleration = map(float, action)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cannot drive with the action {action!r}: it is no [steer, acceleration]"
        ) from error
    if not (math.isfinite(steer) and math.isfinite(acceleration)):
        raise ValueError(f"cannot drive with the action [{steer}, {acceleration}]: it is not finite")
    return Action(min(max(steer, -1.0), 1.0), min(max(acceleration, -1.0), 1.0))


def _number(action: Any, count: int) -> int:
    value = np.asarray(action)
    if value.shape != () or value.dtype.kind not in "iu" or not 0 <= value < count:
        raise ValueError(
            f"cannot drive with the action {action!r}: it is none of the numbers 0 to {count - 1}"
        )
    return int(value)
