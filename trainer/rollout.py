"""Batches of on-policy experience."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carlad.session.arrays import Array
from carlad.session.members import Members, Moved
from trainer import gae
from trainer.acting import on
from trainer.config import PPOConfig
from trainer.episodes import Episodes
from trainer.player import Player
from trainer.policy import ActorCritic
from trainer.ppo import Batch
from trainer.spaces import Boxes

_JUDGED_AT_ONCE = 512  # observations, so that the networks' layers fit into memory


class Rollout:
    """A batch under construction: arrays that are made once and filled step by step; images stay uint8.

    For a GPU observations come into memory that it reads directly, and go over once: when they are acted on.
    """

    def __init__(self, boxes: Boxes, action: Tensor, rows: int, device: torch.device) -> None:
        """`action` is one of those that the policy samples; `device` is the policy's."""
        self._tensors = {
            key: torch.empty(rows, *box.shape, dtype=torch_dtype(box.dtype), pin_memory=device.type == "cuda")
            for key, box in boxes.items()
        }
        self._on_device = {
            key: torch.empty_like(tensor, device=device) if device.type == "cuda" else tensor
            for key, tensor in self._tensors.items()
        }
        self._sent = 0  # rows that are on the device
        self._parts = {key: tensor.numpy() for key, tensor in self._tensors.items()}
        # Rows that nobody has acted on yet are judged with the others, and not every number is an action.
        self.actions = torch.zeros(rows, *action.shape, dtype=action.dtype).numpy()
        self.log_probabilities = np.empty(rows, np.float32)
        self.rewards = np.empty(rows, np.float32)
        self.terminated = np.empty(rows, np.bool_)
        self.truncated = np.empty(rows, np.bool_)
        self.valid = np.empty(rows, np.bool_)
        self.following = np.empty(rows, np.int64)
        """Where the observation is that the step led to: a row, or -1 - an index of `last`."""
        self.last: list[dict[str, Array]] = []
        """Observations with which episodes were cut off."""
        self.used = 0
        self.known = 0  # rows that the policy before acted on: their log probabilities stay

    def add(self, observation: Mapping[str, Array]) -> int:
        row, self.used = self.used, self.used + 1
        for key, part in self._parts.items():
            part[row] = observation[key]
        return row

    def add_last(self, observation: Mapping[str, Array]) -> int:
        self.last.append({key: np.array(observation[key]) for key in self._parts})
        return -len(self.last)

    def observations_of(self, rows: Sequence[int]) -> dict[str, Tensor]:
        return self.observations(rows[0], rows[-1] + 1)

    def observations(self, first: int, end: int) -> dict[str, Tensor]:
        """Of these rows, on the device; views."""
        for key, there in self._on_device.items():
            if there is not self._tensors[key] and end > self._sent:
                there[self._sent : end].copy_(self._tensors[key][self._sent : end], non_blocking=True)
        self._sent = max(self._sent, end)
        return {key: tensor[first:end] for key, tensor in self._on_device.items()}

    def last_observations(self) -> dict[str, Tensor]:
        """All of `last`, which is not empty."""
        return {
            key: torch.from_numpy(np.stack([one[key] for one in self.last])).to(tensor.dtype)
            for key, tensor in self._tensors.items()
        }

    def acted(self, rows: Sequence[int], actions: Array) -> None:
        self.actions[rows[0] : rows[-1] + 1] = actions

    def moved(self, row: int, step: Moved, following: int | None) -> None:
        self.rewards[row] = step.reward
        self.terminated[row], self.truncated[row] = step.terminated, step.truncated
        self.valid[row] = "sim_lost" not in step.info
        self.following[row] = row if following is None else following

    def clear(self, keep: Sequence[int], waiting: int) -> None:
        """Forget all but the rows in `keep`, in ascending order; they become the first ones.

        On the last `waiting` of them nobody has acted yet.
        """
        for row, kept in enumerate(keep):
            for part in (*self._parts.values(), self.actions, self.log_probabilities):
                part[row] = part[kept]
        self.last.clear()
        self._sent = 0
        self.used, self.known = len(keep), len(keep) - waiting


class Collector:
    """Fills a batch with the steps of whichever environments are ready."""

    def __init__(
        self,
        vector: Members,
        boxes: Boxes,
        policy: ActorCritic,
        config: PPOConfig,
        episodes: Episodes,
        rng: np.random.Generator,
        lockstep: bool = False,
    ) -> None:
        """`rng` chooses the actions."""
        self._policy, self._config, self._device = policy, config, policy.device
        under_way = 2 * len(vector.phases())  # when a batch begins, and when it ends
        rows = config.batch_steps + under_way
        self._rollout = Rollout(boxes, policy.an_action(), rows, self._device)
        self.player = Player(vector, policy, self._rollout, episodes, rng, lockstep)

    def collect(self, stop: Callable[[], bool]) -> Batch | None:
        """The next `config.batch_steps` steps, or a few more; None if `stop` said so first.

        Steps under way when the batch is full belong to the next one, with the log probabilities of the
        policy that chose them. The batch is good until the next call.
        """
        keep = self.player.under_way()
        self._rollout.clear(keep, self.player.waiting)
        self.player.renumber(keep)
        return self.batch() if self.player.play(self._config.batch_steps, stop) else None

    def batch(self) -> Batch:
        """What was collected last, judged by the policy as it is now: all steps but those that lost a
        simulator, with their advantages."""
        rollout = self._rollout
        observations = rollout.observations(0, rollout.used)
        values = self._judge(observations)
        if rollout.last:
            lasts = self._policy.values(on(self._device, rollout.last_observations())).cpu().numpy()
            values = np.concatenate([values, lasts[::-1]])
        fragments = [np.array(fragment) for fragment in self.player.fragments()]
        advantages = np.concatenate([self._advantages(fragment, values) for fragment in fragments])
        rows = np.concatenate(fragments)
        valid = rollout.valid[rows]
        rows, advantages = rows[valid], advantages[valid]
        returns = advantages + values[rows]
        columns = rows, rollout.actions[rows], rollout.log_probabilities[rows], advantages, returns
        return Batch(observations, *(torch.from_numpy(column).to(self._device) for column in columns))

    def _judge(self, observations: Mapping[str, Tensor]) -> gae.Floats:
        """The values of all rows; puts down the log probabilities of what was done in this batch."""
        rollout, values = self._rollout, np.empty(self._rollout.used, np.float32)
        actions = torch.from_numpy(rollout.actions).to(self._device)
        for first in range(0, rollout.used, _JUDGED_AT_ONCE):
            chosen = slice(first, min(first + _JUDGED_AT_ONCE, rollout.used))
            seen = {key: part[chosen] for key, part in observations.items()}
            log_probabilities, some = self._policy.judged(seen, actions[chosen])
            values[chosen] = some.cpu().numpy()
            known = max(0, rollout.known - first)
            rollout.log_probabilities[chosen][known:] = log_probabilities.cpu().numpy()[known:]
        return values

    def _advantages(self, rows: gae.Rows, values: gae.Floats) -> gae.Floats:
        rollout, config = self._rollout, self._config
        return gae.advantages(
            rollout.rewards[rows],
            values[rows],
            values[rollout.following[rows]],
            rollout.terminated[rows],
            rollout.truncated[rows],
            rollout.valid[rows],
            config.gamma,
            config.gae_lambda,
        )


def torch_dtype(dtype: Any) -> torch.dtype:
    """For observations; float64 is kept as float32, in which networks compute."""
    found: torch.dtype = getattr(torch, np.dtype(dtype).name)
    return torch.float32 if found is torch.float64 else found
