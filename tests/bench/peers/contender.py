"""What learners that are compared have in common: the hyperparameters, and how they are driven."""

from __future__ import annotations

from typing import Protocol

from trainer.config import PolicyConfig, PPOConfig
from trainer.drivers import Driver

POLICY = PolicyConfig()
PPO = PPOConfig(kl_max=1e9)  # all epochs, so that all take as many gradient steps


class Contender(Protocol):
    """One way of learning by PPO, with its environments. Close it."""

    def learn(self) -> int:
        """Collect about `PPO.batch_steps` steps and learn from them; returns how many they were."""

    def driver(self) -> Driver:
        """Drives as was learned, without exploring."""

    def close(self) -> None:
        """End the environments."""
