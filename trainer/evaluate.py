"""Episodes driven to see how well somebody drives: the same ones each time, by their seeds and routes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from carlad.session.members import Began, Members, Moved, Phase
from trainer.drivers import Drive, Driver
from trainer.scores import Result

_POLL_S = 0.2  # how soon `stop` is looked at while no environment answers


class Task(NamedTuple):
    """An episode to drive: what its reset gets, and the route's id for whoever reads the results."""

    seed: int
    options: dict[str, Any] | None = None
    route: str = ""


def evaluate(
    vector: Members,
    driver: Driver,
    tasks: Sequence[Task],
    stop: Callable[[], bool],
    tell: Callable[[Result], None] = lambda _: None,
) -> list[Result] | None:
    """Drive each task once, in all environments at once; the results are in the order of the tasks.

    None if `stop` said so first. `tell` gets each result when it is there. Episodes that are under way before
    are given up; a task whose simulator is lost is driven again.
    """
    round_ = _Round(vector, driver, tasks, tell)
    while len(round_.results) < len(tasks):
        if stop():
            return None
        round_.begin()
        for event in vector.events(_POLL_S):
            round_.note(event)
    return [round_.results[number] for number in range(len(tasks))]


@dataclass
class _Episode:
    """A task that a member drives."""

    number: int
    drive: Drive
    steps: int = 0
    episodic_return: float = 0.0


class _Round:
    """Which member drives which task."""

    def __init__(
        self, vector: Members, driver: Driver, tasks: Sequence[Task], tell: Callable[[Result], None]
    ) -> None:
        self.results: dict[int, Result] = {}  # by the task's number
        self._vector, self._driver, self._tasks, self._tell = vector, driver, tasks, tell
        self._todo = deque(range(len(tasks)))
        self._driving: dict[int, _Episode] = {}

    def begin(self) -> None:
        for member, phase in enumerate(self._vector.phases()):
            if member in self._driving:
                if phase is Phase.IDLE:  # its session was lost before the episode began
                    self._reset(member, self._driving[member].number)
            elif phase in (Phase.IDLE, Phase.READY) and self._todo:
                self._reset(member, self._todo.popleft())

    def note(self, event: Began | Moved) -> None:
        episode = self._driving.get(event.member)
        if episode is None:
            return
        if isinstance(event, Moved):
            episode.steps += 1
            episode.episodic_return += event.reward
        if isinstance(event, Began) or not (event.terminated or event.truncated):
            self._vector.act(event.member, episode.drive(event.observation))
            return
        del self._driving[event.member]
        if "sim_lost" in event.info:
            self._todo.append(episode.number)
        else:
            result = self.results[episode.number] = _result(self._tasks[episode.number], episode, event.info)
            self._tell(result)

    def _reset(self, member: int, number: int) -> None:
        task = self._tasks[number]
        self._driving[member] = _Episode(number, self._driver.begin(task.seed))
        self._vector.reset(member, task.seed, task.options)


def _result(task: Task, episode: _Episode, info: dict[str, Any]) -> Result:
    return Result(
        route=task.route,
        seed=task.seed,
        success=bool(info["success"]),
        reason=info.get("reason", ""),
        steps=episode.steps,
        episodic_return=episode.episodic_return,
        route_completion=float(info["route_completion"]),
        route_length_m=float(info.get("route_length_m", 0.0)),
        driving_score_2_0=info.get("driving_score_2_0"),
        driving_score_2_1=info.get("driving_score_2_1"),
        infractions=info.get("infractions", {}),
    )
