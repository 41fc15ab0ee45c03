"""All that learns or is random in a training, and so belongs into a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import msgspec
import numpy as np
import torch

from carlad.session import spaces as described
from carlad.session.members import Members
from trainer import spaces
from trainer.acting import on
from trainer.checkpoint import Checkpoint, CheckpointError, Counters
from trainer.config import Config
from trainer.curriculum import Curriculum
from trainer.distributed import ALONE, Ranks
from trainer.episodes import Episodes, EpisodesState
from trainer.player import Player
from trainer.policy import ActorCritic, Policy
from trainer.ppo import PPO
from trainer.replay import Replay
from trainer.rollout import Collector
from trainer.sac import SAC, SACLosses, SoftActorCritic
from trainer.spaces import Boxes

CPU = torch.device("cpu")
_RANK_SEEDS = 1_000_003  # apart for the processes of one training


class Rounds(Protocol):
    """Experience and what is learned from it, in turns."""

    player: Player

    def collect(self, stop: Callable[[], bool]) -> bool:
        """Whether there is enough to learn from; `stop` may have come first."""

    def learn(self, progress: float, stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """Improve the policy by what was collected, less if `stop` says so meanwhile, to all processes alike;
        returns the losses by name."""


class Learner:
    """Policy, algorithm, counters, and where the randomness is."""

    def __init__(
        self,
        config: Config,
        observations: gymnasium.Space[Any],
        actions: gymnasium.Space[Any],
        device: torch.device = CPU,
        ranks: Ranks = ALONE,
    ) -> None:
        """Raises ConfigError for spaces that cannot be learned with."""
        self.config, self.device, self.ranks = config, device, ranks
        self.counters = Counters()
        self.boxes = spaces.boxes(observations)
        self._spaces = {
            name: msgspec.to_builtins(described.describe(space))
            for name, space in (("observation", observations), ("action", actions))
        }
        self.generator = torch.Generator(device).manual_seed(config.train.seed + _RANK_SEEDS * ranks.rank)
        self.rng = np.random.default_rng([config.train.seed, ranks.rank])
        curriculum, sessions = Curriculum(config.curriculum, config.env), config.servers.sessions
        self.episodes = Episodes(config.train.seed, sessions, curriculum, ranks.rank * sessions)
        torch.manual_seed(config.train.seed)
        self.policy = _policy(config, self.boxes, spaces.action(actions)).to(device)
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32, in which convolutions are computed anyway
            self.policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.policy.bf16 = config.train.bf16
        if config.train.compile:
            self.policy.compile_encoders()
        self.algorithm = self._algorithm()

    def rounds(self, vector: Members) -> Rounds:
        """The turns of a training in these environments."""
        return (
            OnPolicy(self, self.algorithm, vector)
            if isinstance(self.algorithm, PPO)
            else OffPolicy(self, self.algorithm, vector)
        )

    def checkpoint(self) -> Checkpoint:
        """The present state; it shares memory with the learner. All processes have to call it."""
        own = {
            "generator": self.generator.get_state(),
            "rng": self.rng.bit_generator.state,
            "episodes": msgspec.to_builtins(self.episodes.state()),
        }
        states = {
            "spaces": self._spaces,
            "policy": self.policy.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.algorithm.optimizers],
            "ranks": self.ranks.gather(own),
        }
        return Checkpoint(config=self.config, counters=self.counters, states=states)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there. Raises CheckpointError if it does not fit the environment or the networks."""
        states = checkpoint.states
        try:
            self._check_spaces(states["spaces"])
            self.policy.load_state_dict(states["policy"])
            for optimizer, state in zip(self.algorithm.optimizers, states["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            own = states["ranks"][self.ranks.rank % len(states["ranks"])]
            self.generator.set_state(own["generator"])
            self.rng.bit_generator.state = own["rng"]
            self.episodes.restore(msgspec.convert(own["episodes"], EpisodesState))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"cannot use the checkpoint: it does not fit: {error}") from error
        self.counters = checkpoint.counters

    def _algorithm(self) -> PPO | SAC:
        if isinstance(self.policy, SoftActorCritic):
            return SAC(self.policy, self.config.sac, self.generator, self.ranks)
        assert isinstance(self.policy, ActorCritic)
        return PPO(self.policy, self.config.ppo, self.generator, self.ranks)

    def _check_spaces(self, theirs: dict[str, Any]) -> None:
        for name, ours in self._spaces.items():
            if theirs[name] != ours:
                raise CheckpointError(
                    f"cannot use the checkpoint: its {name}s are {_in_short(theirs[name])}, and the "
                    f"environment's {_in_short(ours)}; set [env] as it was in the training"
                )


def _in_short(space: dict[str, Any]) -> str:
    """A described space in a few words."""
    if space["type"] == "dict":
        return ", ".join(f"{key} {_in_short(part)}" for key, part in space["spaces"].items())
    if space["type"] == "discrete":
        return f"numbers from {space['start']} to {space['start'] + space['n'] - 1}"
    low, high = ("..." if len(bound) > 1 else bound[0] for bound in (space["low"], space["high"]))
    return f"{space['dtype']} {tuple(space['shape'])} in [{low}, {high}]"


class OnPolicy:
    """A batch, an update by PPO."""

    def __init__(self, learner: Learner, ppo: PPO, vector: Members) -> None:
        config = learner.config
        self._ppo, self._ranks = ppo, learner.ranks
        lockstep = config.train.collect == "lockstep"
        self._collector = Collector(
            vector, learner.boxes, ppo.policy, config.ppo, learner.episodes, learner.rng, lockstep
        )
        self.player = self._collector.player

    def collect(self, stop: Callable[[], bool]) -> bool:
        self._batch = self._collector.collect(stop)
        return self._batch is not None

    def learn(self, progress: float, stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """The first batch is learned from in its own scale: what would be learned without one is lost as soon
        as there is one. An untrained actor hardly looks at what it sees, so its actions are as good there."""
        batch, policy = self._batch, self._ppo.policy
        assert batch is not None
        seen, is_first = batch.seen(policy.norms), not policy.has_scale
        if is_first:
            policy.learn_scale(seen, self._ranks)
            batch = self._collector.batch()
        losses = self._ppo.update(batch, progress, stop)
        if not is_first:
            policy.learn_scale(seen, self._ranks)
        return losses._asdict()


class OffPolicy:
    """Some steps into the replay buffer, some gradient steps of SAC."""

    def __init__(self, learner: Learner, sac: SAC, vector: Members) -> None:
        config = learner.config
        self._sac, self._config, self._device, self._ranks = sac, config.sac, learner.device, learner.ranks
        self._replay = Replay(
            learner.boxes,
            sac.policy.an_action(),
            config.sac.buffer_steps,
            learner.rng,
            pinned=learner.device.type == "cuda",
        )
        lockstep = config.train.collect == "lockstep"
        self.player = Player(vector, sac.policy, self._replay, learner.episodes, learner.rng, lockstep)

    def collect(self, stop: Callable[[], bool]) -> bool:
        missing = self._config.learn_after_steps - self._replay.steps
        return self.player.play(max(missing, self._config.collect_steps), stop)

    def learn(self, progress: float, stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """As many gradient steps as belong to `collect_steps`, also after the first and longer round."""
        config, policy = self._config, self._sac.policy
        newest = self._replay.newest(self.player.steps, policy.norms)
        policy.learn_scale(on(self._device, newest), self._ranks)
        count = max(1, round(config.collect_steps * config.updates_per_step))
        steps = []
        for _ in range(count):
            steps.append(self._sac.step(self._replay.draw(config.minibatch_steps, self._device)))
            if stop():
                break
        return SACLosses(*torch.stack(steps).mean(0).tolist())._asdict()


def _policy(config: Config, boxes: Boxes, action: spaces.Action) -> Policy:
    if config.algorithm == "sac":
        return SoftActorCritic(boxes, action, config.policy, config.sac.alpha)
    return ActorCritic(boxes, action, config.policy)
