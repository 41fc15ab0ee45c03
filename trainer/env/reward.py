"""The reward of Route-v0 as a sum of named terms, each a number per step."""

from __future__ import annotations

from trainer.env.config import RouteConfig
from trainer.env.termination import Reason


def terms(
    config: RouteConfig,
    *,
    progress_m: float,
    speed_mps: float,
    lateral_m: float,
    steer_change: float,
    reason: Reason | None,
) -> dict[str, float]:
    """The weighted terms of one step; the reward is their sum.

    `progress_m` is along the route, `steer_change` the difference to the last step's steering in [-2, 2].
    """
    weights = config.reward
    return {
        "progress": weights.progress * progress(progress_m, config.target_speed_mps * config.delta_s),
        "speeding": -weights.speeding * speeding(speed_mps, config.target_speed_mps),
        "deviation": -weights.deviation * deviation(lateral_m, config.deviation_max_m),
        "comfort": -weights.comfort * discomfort(steer_change),
        "arrival": weights.success * (reason is Reason.SUCCESS)
        - weights.failure * (reason is not None and reason.is_failure),
    }


def progress(progress_m: float, most_m: float) -> float:
    """Metres along the route, of which no more than `most_m` count, so that racing does not pay."""
    return min(progress_m, most_m)


def speeding(speed_mps: float, target_speed_mps: float) -> float:
    """Metres per second above the target speed."""
    return max(0.0, speed_mps - target_speed_mps)


def deviation(lateral_m: float, lateral_max_m: float) -> float:
    """0 on the route, 1 where the episode ends; quadratic, so that small offsets hardly count."""
    return (lateral_m / lateral_max_m) ** 2


def discomfort(steer_change: float) -> float:
    """0 for a steady hand, 1 from one stop to the other."""
    return (steer_change / 2.0) ** 2
