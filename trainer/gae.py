"""Generalised advantage estimation over one fragment of experience."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]


def advantages(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    terminated: Flags,
    truncated: Flags,
    valid: Flags,
    gamma: float,
    gae_lambda: float,
) -> Floats:
    """The advantages of consecutive steps of one environment, float32 (T,); all arguments are (T,).

    A fragment may hold several episodes and end in the middle of one. `next_values[t]` is the critic's value
    of the observation that step t led to, also where the episode ended there. A termination is worth nothing
    more; a truncation and the fragment's end are worth `next_values`. Steps that are not `valid` (the
    simulator was lost in them) get 0 and pass nothing on to the steps before.

    Source: Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage
    Estimation", equation 16; on truncation Pardo et al. 2018, "Time Limits in Reinforcement Learning".
    """
    deltas = np.where(valid, rewards + gamma * next_values * ~terminated - values, 0.0).tolist()
    carried = (gamma * gae_lambda * ~(terminated | truncated | ~valid)).tolist()
    advantage = 0.0
    for t in reversed(range(len(deltas))):
        deltas[t] = advantage = deltas[t] + carried[t] * advantage
    return np.array(deltas, np.float32)
