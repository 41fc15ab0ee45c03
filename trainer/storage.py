"""Where a batch of experience is collected: arrays that are made once and filled step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carlad.session.arrays import Array
from trainer.spaces import Boxes


class Storage:
    """One row for each observation that was acted on, and what came of it; images stay uint8.

    The rows that wait for an action are always the last ones.
    """

    def __init__(self, boxes: Boxes, action: Tensor, rows: int, pinned: bool) -> None:
        """`action` is one of those that the policy samples. `pinned`: in memory that a GPU reads directly."""
        self._tensors = {
            key: torch.empty(rows, *box.shape, dtype=_dtype(box.dtype), pin_memory=pinned)
            for key, box in boxes.items()
        }
        self._parts = {key: tensor.numpy() for key, tensor in self._tensors.items()}
        self.actions = torch.empty(rows, *action.shape, dtype=action.dtype).numpy()
        self.log_probabilities = np.empty(rows, np.float32)
        self.rewards = np.empty(rows, np.float32)
        self.terminated = np.empty(rows, np.bool_)
        self.truncated = np.empty(rows, np.bool_)
        self.valid = np.empty(rows, np.bool_)
        self.next = np.empty(rows, np.int64)
        """Where the observation is that the step led to: a row, or -1 - an index of `last`."""
        self.last: list[dict[str, Array]] = []
        """Observations with which episodes were cut off."""
        self.capacity, self.used = rows, 0

    def add(self, observation: Mapping[str, Array]) -> int:
        """The row of an observation that waits for an action."""
        row, self.used = self.used, self.used + 1
        for key, part in self._parts.items():
            part[row] = observation[key]
        return row

    def add_last(self, observation: Mapping[str, Array]) -> int:
        """What `next` is to be for the step that ended with this observation."""
        self.last.append({key: np.array(observation[key]) for key in self._parts})
        return -len(self.last)

    def clear(self, keep: list[int]) -> None:
        """Forget all but the rows in `keep`, which is in ascending order; they become the first ones."""
        for row, kept in enumerate(keep):
            for part in (*self._parts.values(), self.actions, self.log_probabilities):
                part[row] = part[kept]
        self.last.clear()
        self.used = len(keep)

    def observations(self, first: int, end: int) -> dict[str, Tensor]:
        """The observations of these rows, without a copy."""
        return {key: tensor[first:end] for key, tensor in self._tensors.items()}

    def last_observations(self) -> dict[str, Tensor]:
        """All of `last`, which is not empty."""
        return {
            key: torch.from_numpy(np.stack([one[key] for one in self.last])).to(tensor.dtype)
            for key, tensor in self._tensors.items()
        }


def _dtype(dtype: Any) -> torch.dtype:
    """float64 is kept as float32, in which networks compute."""
    found: torch.dtype = getattr(torch, np.dtype(dtype).name)
    return torch.float32 if found is torch.float64 else found
