"""Driving tasks as Gymnasium environments: `gymnasium.make("trainer.env:trainer/Route-v0")`, in this process.

Importing this package imports no simulator client; `trainer.env.route_env` does.
"""

import gymnasium

from trainer.env.config import RouteConfig

__all__ = ["RouteConfig"]

gymnasium.register(id="trainer/Route-v0", entry_point="trainer.env.route_env:RouteEnv")
