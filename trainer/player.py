"""Steps from whichever environments are ready; what is kept of them is another's business."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from carlad.session.arrays import Array
from carlad.session.members import Began, Members, Moved, Phase
from trainer import spaces
from trainer.acting import Acting
from trainer.episodes import Episodes
from trainer.policy import Policy

_POLL_S = 0.2  # how soon `stop` is looked at while no environment answers
_BUSY = (Phase.OPENING, Phase.RESETTING, Phase.STEPPING)


class Episode(NamedTuple):
    """A finished episode: its undiscounted return, its length in steps, what its last info said, and the
    reward's terms, each added up."""

    episodic_return: float
    length: int
    info: dict[str, Any]
    reward_terms: dict[str, float]


class Store(Protocol):
    """Where experience goes, by rows."""

    def add(self, observation: Mapping[str, Array]) -> int:
        """The row of an observation that waits for an action."""

    def add_last(self, observation: Mapping[str, Array]) -> int:
        """The place of an observation with which an episode was cut off."""

    def observations_of(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """What waits in these rows, which were added one after the other."""

    def acted(self, rows: Sequence[int], actions: Array) -> None:
        """What was done in each of these rows."""

    def moved(self, row: int, step: Moved, following: int | None) -> None:
        """What came of it; `following` is the place of the next observation where the task goes on there."""


@dataclass
class _Track:
    """One environment's episode under way."""

    row: int | None = None  # of the observation that was acted on, or waits for that
    fragment: list[int] = field(default_factory=list)  # the rows of its steps
    episodic_return: float = 0.0
    length: int = 0
    terms: dict[str, float] = field(default_factory=dict)  # of the reward, each added up
    stage: int = 0  # of the curriculum, when the episode began


class Player:
    """Plays the policy in all environments of `vector`; `episodes` says which episode is next.

    In lockstep all environments take their steps together, in their order: a slow one holds up the others,
    and the same policy, `rng` and episodes give the same experience.
    """

    def __init__(
        self,
        vector: Members,
        policy: Policy,
        store: Store,
        episodes: Episodes,
        rng: np.random.Generator,
        lockstep: bool = False,
    ) -> None:
        """`rng` chooses the actions."""
        self.finished: list[Episode] = []  # while `play` was last running; lost ones are left out
        self.lost: list[dict[str, Any]] = []  # `sim_lost` of those
        self._vector, self._policy, self._store = vector, policy, store
        self._episodes, self._lockstep = episodes, lockstep
        self._acting = Acting(policy, rng)
        self._tracks = [_Track() for _ in vector.phases()]
        self._waiting: list[int] = []  # members, in the order of their rows
        self._steps = 0

    def play(self, steps: int, stop: Callable[[], bool]) -> bool:
        """Take that many steps, or a few more; False if `stop` said so first."""
        self.finished, self.lost, self._steps = [], [], 0
        while self._steps < steps:
            if stop():
                return False
            self._begin()
            self._act()
            for event in self._events(stop):
                self._note(event)
        return True

    @property
    def steps(self) -> int:
        """How many `play` has taken."""
        return self._steps

    def fragments(self) -> list[list[int]]:
        """The rows of each environment's consecutive steps since `renumber`."""
        return [track.fragment for track in self._tracks if track.fragment]

    def under_way(self) -> list[int]:
        """The rows whose steps are still to come, in ascending order."""
        return sorted(track.row for track in self._tracks if track.row is not None)

    @property
    def waiting(self) -> int:
        """On how many rows, the last ones under way, nobody has acted yet."""
        return len(self._waiting)

    def renumber(self, rows: list[int]) -> None:
        """Forget the fragments; each row under way is its place in `rows` from now on."""
        for track in self._tracks:
            track.fragment = []
            track.row = rows.index(track.row) if track.row is not None else None

    def restart(self) -> None:
        """Give up all episodes under way: each environment's next step is the first of an episode."""
        for track in self._tracks:
            track.row = None
        self._waiting = []

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
        rows = [row for i in self._waiting if (row := self._tracks[i].row) is not None]
        actions = self._acting.act(self._store.observations_of(rows))
        self._store.acted(rows, actions)
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
            track.episodic_return, track.length, track.terms = 0.0, 0, {}
            self._wait(event.member, track, event.observation)
        elif track.row is not None:  # else of an episode that was given up
            self._moved(event, track, track.row)

    def _moved(self, step: Moved, track: _Track, row: int) -> None:
        track.fragment.append(row)
        track.episodic_return += step.reward
        track.length += 1
        for name, value in step.info.get("reward_terms", {}).items():
            track.terms[name] = track.terms.get(name, 0.0) + value
        self._steps += 1
        following: int | None = None
        if not (step.terminated or step.truncated):
            following = self._wait(step.member, track, step.observation)
        else:
            track.row = None
            if (lost := step.info.get("sim_lost")) is not None:
                self.lost.append(lost)
            else:
                self._finish(step, track)
                if not step.terminated:
                    following = self._store.add_last(spaces.parts(step.observation))
        self._store.moved(row, step, following)

    def _finish(self, step: Moved, track: _Track) -> None:
        self.finished.append(Episode(track.episodic_return, track.length, step.info, track.terms))
        self._episodes.curriculum.note(track.stage, step.info["success"])

    def _wait(self, member: int, track: _Track, observation: Any) -> int:
        track.row = row = self._store.add(spaces.parts(observation))
        self._waiting.append(member)
        return row
