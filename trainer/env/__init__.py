"""Driving tasks as Gymnasium environments: `gymnasium.make("trainer.env:Route-v0")`.

Importing this package imports no simulator client; `trainer.env.route_env` does.
"""

import gymnasium

from trainer.env.config import RewardWeights, RouteConfig

__all__ = ["RewardWeights", "RouteConfig"]

gymnasium.register(id="Route-v0", entry_point="trainer.env.route_env:RouteEnv")
