"""Which episode an environment plays next: its seed, and its stage of the curriculum."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from trainer.curriculum import Curriculum, Standing


class Start(NamedTuple):
    """What a `reset` is to get, and the curriculum's stage that it is from."""

    seed: int
    options: dict[str, Any] | None
    stage: int


class EpisodesState(msgspec.Struct, frozen=True):
    """For a checkpoint. `cursors[i]` is how many episodes environment i has begun."""

    cursors: tuple[int, ...]
    curriculum: Standing


class Episodes:
    """The episodes of a training, for ever.

    The seed of an environment's n-th episode depends on the run's seed, the environment and n alone, not on
    how fast the other environments are.
    """

    def __init__(self, run_seed: int, environments: int, curriculum: Curriculum, first: int = 0) -> None:
        """`first`: how many environments of this training other processes have before these."""
        self.curriculum = curriculum
        self._first = first
        self._run_seed = run_seed
        self._cursors = [0] * environments

    def next(self, environment: int) -> Start:
        """Begin an episode there."""
        entropy = [self._run_seed, 0, self._first + environment, self._cursors[environment]]
        self._cursors[environment] += 1
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1  # CARLA's seeds are int32
        return Start(seed, self.curriculum.options(), self.curriculum.stage)

    def state(self) -> EpisodesState:
        """For a checkpoint."""
        return EpisodesState(tuple(self._cursors), self.curriculum.standing())

    def restore(self, state: EpisodesState) -> None:
        """Go on from there, also with fewer or more environments. Raises ValueError for an unknown stage."""
        self.curriculum.restore(state.curriculum)
        self._cursors[: len(state.cursors)] = state.cursors[: len(self._cursors)]


def evaluation_seeds(run_seed: int, episodes: int) -> list[int]:
    """The same seeds for the same arguments; apart from those of the training's episodes."""
    return [int(seed) for seed in np.random.SeedSequence([run_seed, 1]).generate_state(episodes)]
