"""Experience for the learner: batches filled by whichever environments are ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from carlad.session.arrays import Array
from carlad.session.members import Began, Members, Moved, Phase
from trainer import gae
from trainer.config import PPOConfig
from trainer.episodes import Episodes
from trainer.policy import GaussianPolicy
from trainer.ppo import Batch

_POLL_S = 0.2  # how soon `stop` is looked at while no environment answers


class Episode(NamedTuple):
    """A finished episode: its undiscounted return, its length in steps and what its last info said."""

    episodic_return: float
    length: int
    info: dict[str, Any]


class _Transition(NamedTuple):
    observation: Array
    action: Array
    log_probability: float
    reward: float
    next_observation: Array
    terminated: bool
    truncated: bool
    valid: bool


@dataclass
class _Track:
    """One environment's episode under way, and its transitions since the last batch."""

    observation: Array | None = None  # waits for an action
    acted: tuple[Array, Array, float] | None = None  # observation, action, log probability under way
    transitions: list[_Transition] = field(default_factory=list)
    episodic_return: float = 0.0
    length: int = 0
    stage: int = 0  # of the curriculum, when the episode began


class Collector:
    """Plays the policy in all environments of `vector`; `episodes` says which episode is next."""

    def __init__(
        self,
        vector: Members,
        count: int,
        policy: GaussianPolicy,
        episodes: Episodes,
        generator: torch.Generator,
    ) -> None:
        self.episodes: list[Episode] = []  # finished since `collect` began, lost ones left out
        self._vector, self._policy, self._episodes, self._generator = vector, policy, episodes, generator
        self._tracks = [_Track() for _ in range(count)]

    def collect(self, config: PPOConfig, stop: Callable[[], bool]) -> Batch | None:
        """The next `config.batch_steps` steps, or a few more; None if `stop` said so first.

        Steps under way when the batch is full belong to the next one, with the log probabilities of the
        policy that chose them.
        """
        self.episodes = []
        while sum(len(track.transitions) for track in self._tracks) < config.batch_steps:
            if stop():
                return None
            self._begin()
            self._act()
            for event in self._vector.events(_POLL_S):
                self._note(event)
        fragments = [track.transitions for track in self._tracks if track.transitions]
        for track in self._tracks:
            track.transitions = []
        return _batch(fragments, self._policy, config)

    def _begin(self) -> None:
        """An episode for each environment that has none."""
        for i, phase in enumerate(self._vector.phases()):
            if phase is Phase.IDLE:
                seed, options, self._tracks[i].stage = self._episodes.next(i)
                self._vector.reset(i, seed, options)

    def _act(self) -> None:
        """One action for each environment that waits for one."""
        waiting = [(i, o) for i, track in enumerate(self._tracks) if (o := track.observation) is not None]
        if not waiting:
            return
        observations = torch.from_numpy(np.stack([observation for _, observation in waiting]))
        actions, log_probabilities = self._policy.act(observations, self._generator)
        for (i, observation), action, log_probability in zip(
            waiting, actions.numpy(), log_probabilities.tolist(), strict=True
        ):
            self._vector.act(i, action)
            track = self._tracks[i]
            track.observation, track.acted = None, (observation, action, log_probability)

    def _note(self, event: Began | Moved) -> None:
        track = self._tracks[event.member]
        if isinstance(event, Began):
            track.observation, track.episodic_return, track.length = event.observation, 0.0, 0
        else:
            self._moved(track, event)

    def _moved(self, track: _Track, step: Moved) -> None:
        assert track.acted is not None
        lost = "sim_lost" in step.info
        track.transitions.append(
            _Transition(
                *track.acted, step.reward, step.observation, step.terminated, step.truncated, not lost
            )
        )
        track.acted = None
        track.episodic_return += step.reward
        track.length += 1
        if not (step.terminated or step.truncated):
            track.observation = step.observation
        elif not lost:
            self.episodes.append(Episode(track.episodic_return, track.length, step.info))
            self._episodes.curriculum.note(track.stage, step.info["success"])


def _batch(fragments: list[list[_Transition]], policy: GaussianPolicy, config: PPOConfig) -> Batch:
    """The fragments, each of one environment's consecutive steps, with advantages and returns."""
    parts = [_learnable(fragment, policy, config) for fragment in fragments]
    return Batch(*(torch.from_numpy(np.concatenate(columns)) for columns in zip(*parts, strict=True)))


def _learnable(fragment: list[_Transition], policy: GaussianPolicy, config: PPOConfig) -> list[Array]:
    """A fragment as the columns of a Batch, without the steps in which a simulator was lost."""
    columns = (np.asarray(column) for column in zip(*fragment, strict=True))
    observations, actions, log_probabilities, rewards, next_observations, terminated, truncated, valid = (
        columns
    )
    values = policy.values(torch.from_numpy(observations)).numpy()
    next_values = policy.values(torch.from_numpy(next_observations)).numpy()
    advantages = gae.advantages(
        rewards, values, next_values, terminated, truncated, valid, config.gamma, config.gae_lambda
    )
    learnable = observations, actions, log_probabilities.astype(np.float32), advantages, advantages + values
    return [column[valid] for column in learnable]
