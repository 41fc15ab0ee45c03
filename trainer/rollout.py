"""Experience for the learner: batches filled by whichever environments are ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from carlad.session.members import Began, Members, Moved, Phase
from trainer import gae, spaces
from trainer.config import PPOConfig
from trainer.episodes import Episodes
from trainer.policy import Policy
from trainer.ppo import Batch
from trainer.spaces import Boxes
from trainer.storage import Storage

_POLL_S = 0.2  # how soon `stop` is looked at while no environment answers
_VALUED_AT_ONCE = 512  # observations, so that the critic's layers fit into memory
_BUSY = (Phase.OPENING, Phase.RESETTING, Phase.STEPPING)


class Episode(NamedTuple):
    """A finished episode: its undiscounted return, its length in steps and what its last info said."""

    episodic_return: float
    length: int
    info: dict[str, Any]


@dataclass
class _Track:
    """One environment's episode under way, and its steps since the last batch."""

    row: int | None = None  # of the observation that was acted on, or waits for that
    fragment: list[int] = field(default_factory=list)  # the rows of its steps
    episodic_return: float = 0.0
    length: int = 0
    stage: int = 0  # of the curriculum, when the episode began


class Collector:
    """Plays the policy in all environments of `vector`; `episodes` says which episode is next.

    In lockstep all environments take their steps together, in their order: a slow one holds up the others,
    and the same policy, generator and episodes give the same experience.
    """

    def __init__(
        self,
        vector: Members,
        boxes: Boxes,
        policy: Policy,
        config: PPOConfig,
        episodes: Episodes,
        generator: torch.Generator,
        lockstep: bool = False,
    ) -> None:
        """`generator` is on the policy's device."""
        self.episodes: list[Episode] = []  # finished since `collect` began, lost ones left out
        self._vector, self._policy, self._config = vector, policy, config
        self._episodes, self._generator, self._lockstep = episodes, generator, lockstep
        self._tracks = [_Track() for _ in vector.phases()]
        self._waiting: list[int] = []  # members, in the order of their rows
        self._steps = 0
        self._device = generator.device
        rows = config.batch_steps + 2 * len(self._tracks)  # steps under way before and after come in addition
        self._storage = Storage(boxes, policy.an_action(), rows, pinned=self._device.type == "cuda")

    def collect(self, stop: Callable[[], bool]) -> Batch | None:
        """The next `config.batch_steps` steps, or a few more; None if `stop` said so first.

        Steps under way when the batch is full belong to the next one, with the log probabilities of the
        policy that chose them. The batch is good until the next call.
        """
        self.episodes = []
        self._forget()
        while self._steps < self._config.batch_steps:
            if stop():
                return None
            self._begin()
            self._act()
            for event in self._events(stop):
                self._note(event)
        return self._batch()

    def restart(self) -> None:
        """Give up all episodes under way: each environment's next step is the first of an episode.

        Between two batches only.
        """
        for track in self._tracks:
            track.row = None
        self._waiting = []

    def _forget(self) -> None:
        """What belongs to the last batch; steps under way are kept."""
        rows = sorted(track.row for track in self._tracks if track.row is not None)
        self._storage.clear(rows)
        for track in self._tracks:
            track.row = rows.index(track.row) if track.row is not None else None
            track.fragment = []
        self._steps = 0

    def _begin(self) -> None:
        """An episode for each environment that has none."""
        for i, phase in enumerate(self._vector.phases()):
            track = self._tracks[i]
            if phase is Phase.IDLE or (phase is Phase.READY and track.row is None):
                seed, options, track.stage = self._episodes.next(i)
                self._vector.reset(i, seed, options)

    def _act(self) -> None:
        """One action for each environment that waits for one."""
        if not self._waiting:
            return
        storage, end = self._storage, self._storage.used
        first = end - len(self._waiting)
        observations = on(self._device, storage.observations(first, end))
        actions, log_probabilities = self._policy.act(observations, self._generator)
        storage.actions[first:end] = actions.cpu().numpy()
        storage.log_probabilities[first:end] = log_probabilities.cpu().numpy()
        for i, action in zip(self._waiting, self._policy.to_env(actions), strict=True):
            self._vector.act(i, action)
        self._waiting = []

    def _events(self, stop: Callable[[], bool]) -> list[Began | Moved]:
        events = self._vector.events(_POLL_S)
        if not self._lockstep:
            return events
        while not stop() and any(phase in _BUSY for phase in self._vector.phases()):
            events += self._vector.events(_POLL_S)
        return sorted(events, key=lambda event: event.member)

    def _note(self, event: Began | Moved) -> None:
        track = self._tracks[event.member]
        if isinstance(event, Began):
            track.episodic_return, track.length = 0.0, 0
            self._wait(event.member, track, event.observation)
        elif track.row is not None:  # else of an episode that was given up
            self._moved(event, track, track.row)

    def _moved(self, step: Moved, track: _Track, row: int) -> None:
        storage, lost = self._storage, "sim_lost" in step.info
        track.fragment.append(row)
        self._steps += 1
        storage.rewards[row] = step.reward
        storage.terminated[row], storage.truncated[row] = step.terminated, step.truncated
        storage.valid[row] = not lost
        track.episodic_return += step.reward
        track.length += 1
        if not (step.terminated or step.truncated):
            storage.next[row] = self._wait(step.member, track, step.observation)
            return
        track.row = None
        cut = step.truncated and not step.terminated and not lost
        storage.next[row] = storage.add_last(spaces.parts(step.observation)) if cut else row
        if not lost:
            self.episodes.append(Episode(track.episodic_return, track.length, step.info))
            self._episodes.curriculum.note(track.stage, step.info["success"])

    def _wait(self, member: int, track: _Track, observation: Any) -> int:
        track.row = self._storage.add(spaces.parts(observation))
        self._waiting.append(member)
        return track.row

    def _batch(self) -> Batch:
        """The fragments, each of one environment's consecutive steps, without those that lost a simulator."""
        storage, device = self._storage, self._device
        observations = on(device, storage.observations(0, storage.used))
        values = self._values(observations)
        if storage.last:
            values = np.concatenate([values, self._values(on(device, storage.last_observations()))[::-1]])
        fragments = [np.array(track.fragment) for track in self._tracks if track.fragment]
        advantages = np.concatenate([self._advantages(fragment, values) for fragment in fragments])
        rows = np.concatenate(fragments)
        valid = storage.valid[rows]
        rows, advantages = rows[valid], advantages[valid]
        columns = (
            storage.actions[rows],
            storage.log_probabilities[rows],
            advantages,
            advantages + values[rows],
        )
        return Batch(observations, *(torch.from_numpy(column).to(device) for column in (rows, *columns)))

    def _values(self, observations: dict[str, Tensor]) -> gae.Floats:
        size = len(next(iter(observations.values())))
        pieces = [
            self._policy.values(
                {key: part[first : first + _VALUED_AT_ONCE] for key, part in observations.items()}
            )
            for first in range(0, size, _VALUED_AT_ONCE)
        ]
        return torch.cat(pieces).cpu().numpy()

    def _advantages(self, rows: gae.Rows, values: gae.Floats) -> gae.Floats:
        storage, config = self._storage, self._config
        return gae.advantages(
            storage.rewards[rows],
            values[rows],
            values[storage.next[rows]],
            storage.terminated[rows],
            storage.truncated[rows],
            storage.valid[rows],
            config.gamma,
            config.gae_lambda,
        )


def on(device: torch.device, observations: dict[str, Tensor]) -> dict[str, Tensor]:
    """The observations on the device; from pinned memory the copy goes on in the background."""
    if device.type == "cpu":
        return observations
    return {key: part.to(device, non_blocking=True) for key, part in observations.items()}
