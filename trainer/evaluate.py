"""How well a policy drives: its most probable actions on episodes with given seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import torch

from carlad.session.members import Began, Members, Moved, Phase
from trainer import spaces
from trainer.policy import Policy

_POLL_S = 0.2  # how soon `stop` is looked at while no environment answers


class Evaluation(msgspec.Struct, frozen=True):
    """Means over the episodes, both in [0, 1]."""

    success_rate: float
    route_completion: float
    episodes: int


def evaluate(
    vector: Members,
    policy: Policy,
    seeds: Sequence[int],
    stop: Callable[[], bool],
    options: dict[str, Any] | None = None,
) -> Evaluation | None:
    """Drive one episode for each seed, in all environments at once; None if `stop` said so first.

    Episodes that are under way are given up. `options` go to each reset.
    """
    drive = _Drive(vector, policy, seeds, options)
    while len(drive.finished) < len(seeds):
        if stop():
            return None
        drive.begin()
        for event in vector.events(_POLL_S):
            drive.note(event)
    return Evaluation(
        success_rate=float(np.mean([info["success"] for info in drive.finished])),
        route_completion=float(np.mean([info["route_completion"] for info in drive.finished])),
        episodes=len(seeds),
    )


class _Drive:
    """Which member drives which seed; a seed whose simulator is lost is driven again."""

    def __init__(
        self,
        vector: Members,
        policy: Policy,
        seeds: Sequence[int],
        options: dict[str, Any] | None,
    ) -> None:
        self.finished: list[dict[str, Any]] = []  # the last infos
        self._vector, self._policy, self._options = vector, policy, options
        self._todo = deque(seeds)
        self._driving: dict[int, int] = {}

    def begin(self) -> None:
        for member, phase in enumerate(self._vector.phases()):
            if member in self._driving:
                again = phase is Phase.IDLE  # its session was lost before the episode began
            else:
                again = phase in (Phase.IDLE, Phase.READY) and bool(self._todo)
                if again:
                    self._driving[member] = self._todo.popleft()
            if again:
                self._vector.reset(member, self._driving[member], self._options)

    def note(self, event: Began | Moved) -> None:
        if event.member not in self._driving:
            return
        if isinstance(event, Began) or not (event.terminated or event.truncated):
            observed = spaces.parts(event.observation)
            device = self._policy.device
            tensors = {key: torch.as_tensor(part, device=device)[None] for key, part in observed.items()}
            actions = self._policy.best(tensors)
            self._vector.act(event.member, self._policy.to_env(actions)[0])
        elif "sim_lost" in event.info:
            self._todo.append(self._driving.pop(event.member))
        else:
            del self._driving[event.member]
            self.finished.append(event.info)
