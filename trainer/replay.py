"""The newest experience of all policies so far; images stay uint8."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from carlad.session.arrays import Array
from carlad.session.members import Moved
from trainer.acting import on
from trainer.rollout import torch_dtype
from trainer.spaces import Boxes


class Minibatch(NamedTuple):
    """N steps."""

    observations: dict[str, Tensor]
    actions: Tensor  # as the policy samples them
    rewards: Tensor  # float32 (N,)
    following: dict[str, Tensor]
    """What the steps led to; of no meaning where the task ended there."""
    terminated: Tensor  # bool (N,)


class Replay:
    """A ring of observations, each stored once. Rows count on for ever; a row's place is row % capacity.

    The observation after a row is a later one, so that a step is overwritten before what it led to.
    """

    def __init__(
        self, boxes: Boxes, action: Tensor, capacity: int, rng: np.random.Generator, pinned: bool
    ) -> None:
        """`action` is one of those that the policy samples. `rng` chooses minibatches."""
        self._tensors = {
            key: torch.empty(capacity, *box.shape, dtype=torch_dtype(box.dtype), pin_memory=pinned)
            for key, box in boxes.items()
        }
        self._parts = {key: tensor.numpy() for key, tensor in self._tensors.items()}
        self._actions = torch.empty(capacity, *action.shape, dtype=action.dtype)
        self._rewards = np.empty(capacity, np.float32)
        self._terminated = np.empty(capacity, np.bool_)
        self._following = np.empty(capacity, np.int64)
        self._is_step = np.zeros(capacity, np.bool_)  # whether what came of it is known
        self._capacity, self._rng = capacity, rng
        self._rows = 0
        self.steps = 0  # that can be drawn

    def add(self, observation: Mapping[str, Array]) -> int:
        row, self._rows = self._rows, self._rows + 1
        place = row % self._capacity
        for key, part in self._parts.items():
            part[place] = observation[key]
        self.steps -= int(self._is_step[place])
        self._is_step[place] = False
        return row

    add_last = add

    def observations_of(self, rows: Sequence[int]) -> dict[str, Tensor]:
        return self._at(np.array(rows) % self._capacity)

    def acted(self, rows: Sequence[int], actions: Array) -> None:
        self._actions[np.array(rows) % self._capacity] = torch.from_numpy(actions)

    def moved(self, row: int, step: Moved, following: int | None) -> None:
        """Steps that lost a simulator are left out, and so is one whose row was overwritten meanwhile."""
        if "sim_lost" in step.info or row < self._rows - self._capacity:
            return
        place = row % self._capacity
        self._rewards[place], self._terminated[place] = step.reward, step.terminated
        self._following[place] = place if following is None else following % self._capacity
        self._is_step[place] = True
        self.steps += 1

    def draw(self, size: int, device: torch.device) -> Minibatch:
        """`size` steps, each as likely as any other, some perhaps twice; there are some."""
        places = self._places(size)
        return Minibatch(
            on(device, self._at(places)),
            self._actions[places].to(device),
            torch.from_numpy(self._rewards[places]).to(device),
            on(device, self._at(self._following[places])),
            torch.from_numpy(self._terminated[places]).to(device),
        )

    def newest(self, rows: int, keys: Iterable[str]) -> dict[str, Tensor]:
        """The observations of the newest rows."""
        places = np.arange(max(0, self._rows - min(rows, self._capacity)), self._rows) % self._capacity
        return {key: self._tensors[key][torch.from_numpy(places)] for key in keys}

    def _places(self, size: int) -> Array:
        assert self.steps > 0
        filled, found = min(self._rows, self._capacity), np.empty(0, np.int64)
        while len(found) < size:
            drawn = self._rng.integers(filled, size=2 * size)
            found = np.concatenate([found, drawn[self._is_step[drawn]]])
        return found[:size]

    def _at(self, places: Array) -> dict[str, Tensor]:
        return {key: tensor[torch.from_numpy(places)] for key, tensor in self._tensors.items()}
