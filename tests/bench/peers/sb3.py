"""stable-baselines3's PPO on its own subprocesses, with its own running normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import stable_baselines3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

from carlad.session.environment import Server
from tests.bench.peers.contender import POLICY, PPO
from tests.bench.peers.environments import StateRoute
from trainer.drivers import Drive, Driver


class StableBaselines:
    """The same networks and hyperparameters as ours, by its names."""

    def __init__(self, servers: Sequence[Server], slow: int, seed: int) -> None:
        """The first `slow` environments are slow."""
        makers: list[Any] = [partial(StateRoute, server, i < slow) for i, server in enumerate(servers)]
        self._env = VecNormalize(SubprocVecEnv(makers, "forkserver"), norm_reward=False, gamma=PPO.gamma)
        hidden = list(POLICY.hidden)
        self._model = stable_baselines3.PPO(
            "MlpPolicy",
            self._env,
            learning_rate=PPO.learning_rate,
            n_steps=PPO.batch_steps // len(servers),
            batch_size=PPO.minibatch_steps,
            n_epochs=PPO.epochs,
            gamma=PPO.gamma,
            gae_lambda=PPO.gae_lambda,
            clip_range=PPO.clip,
            ent_coef=PPO.entropy_weight,
            vf_coef=PPO.value_weight,
            max_grad_norm=PPO.gradient_norm_max,
            policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": POLICY.log_std},
            seed=seed,
            device="cpu",
        )
        self._model.set_logger(Logger(None, []))  # its own leaves a folder in /tmp

    def learn(self) -> int:
        before = self._model.num_timesteps
        self._model.learn(PPO.batch_steps, reset_num_timesteps=False)
        return self._model.num_timesteps - before

    def driver(self) -> Driver:
        return _Driver(self._model, self._env)

    def close(self) -> None:
        self._env.close()


class _Driver:
    def __init__(self, model: stable_baselines3.PPO, env: VecNormalize) -> None:
        self._model, self._env = model, env

    def begin(self, seed: int) -> Drive:
        return self._best

    def _best(self, observation: Any) -> Any:
        return self._model.predict(self._env.normalize_obs(observation["state"]), deterministic=True)[0]
