"""Several sessions as one Gymnasium vector environment, in which a lost one never stops the others."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from carlad.errors import ServerError
from carlad.session import spaces
from carlad.session.client import REPLY_WITHIN_S, SimLost, fitting, spaces_of
from carlad.session.members import Began, Event, Members, Moved, Phase
from carlad.session.sources import DaemonSource, Terms

_POLL_S = 0.2
_FIRST_WAIT_S = 120.0  # beyond the wait for servers: hosts start, maps load


class SessionVectorEnv(VectorEnv[Any, Any, Any]):
    """What `gymnasium.make_vec("carlad.gym:Route-v0", num_envs=8)` gives. Each environment has a session.

    An episode that ended is followed by a reset in the next step, whose action is ignored (`NEXT_STEP`). A
    session whose server or host is lost gives one truncated step with `info["sim_lost"]` at once. Until its
    replacement is there each further step of it is truncated too, with reward 0 and the same observation:
    for a learner these are the steps after an episode's end, which it ignores. The others go on. The first
    episode on the replacement begins with `info["sim_recovered"]`, which has `recovery_s`, too.

    The constructor opens nothing, `reset` does. `env` and the following arguments are those of `SessionEnv`.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int,
        env: str,
        config: dict[str, Any] | None = None,
        map: str | None = None,
        ttl_s: float | None = None,
        wait_s: float = 60.0,
        endpoint: str | None = None,
        reply_within_s: float = REPLY_WITHIN_S,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.render_mode = render_mode
        self._terms = Terms(env, config or {}, map, ttl_s, wait_s, endpoint)
        self._reply_within_s = reply_within_s
        found = spaces_of(env, config or {}, endpoint)
        self.single_observation_space = spaces.build(found.observation_space)
        self.single_action_space = spaces.build(found.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._members: Members | None = None
        self._last: list[Any] = [None] * num_envs
        self._ended = [True] * num_envs
        self._recovered: dict[int, dict[str, Any]] = {}  # to be told with the next episode

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode in every environment; waits for those that have no server yet.

        Raises what keeps one from getting a server, after `wait_s` and the time that a start takes.
        """
        members = self._open()
        seeds = _seeds(seed, self.num_envs)
        deadline_s = time.monotonic() + self._terms.wait_s + _FIRST_WAIT_S
        infos: dict[str, Any] = {}
        waiting = set(range(self.num_envs))
        while waiting:
            for index in waiting:
                if members.phases()[index] in (Phase.IDLE, Phase.READY):
                    members.reset(index, seeds[index], options)
            for event in members.events(_POLL_S):
                if isinstance(event, Began) and event.member in waiting:
                    waiting.remove(event.member)
                    infos = self._note(event, infos)
            self._check_patience(members, waiting, deadline_s)
        return self._observations(), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        members = self._open()
        rewards = np.zeros(self.num_envs, np.float64)
        terminated, truncated = (np.zeros(self.num_envs, np.bool_) for _ in range(2))
        infos: dict[str, Any] = {}
        waiting = self._request(members, list(iterate(self.action_space, actions)))
        while waiting:
            for event in members.events(_POLL_S):
                if _is_belated(event):
                    self._recovered[event.member] = event.info["sim_lost"]
                if event.member not in waiting or _is_belated(event):
                    continue
                waiting.remove(event.member)
                infos = self._note(event, infos)
                if isinstance(event, Moved):
                    rewards[event.member] = event.reward
                    terminated[event.member], truncated[event.member] = event.terminated, event.truncated
            phases = members.phases()
            # IDLE: the replacement came meanwhile, and nothing was asked of it yet.
            for index in [index for index in waiting if phases[index] in (Phase.OPENING, Phase.IDLE)]:
                waiting.remove(index)
                truncated[index] = True
                infos = self._note_loss(members, index, infos)
        return self._observations(), rewards, terminated, truncated, infos

    def close_extras(self, **_kwargs: Any) -> None:
        """Called by `close`, once."""
        if self._members is not None:
            self._members.close()
            self._members = None

    def _open(self) -> Members:
        if self._members is None:
            sources = [DaemonSource(self._terms) for _ in range(self.num_envs)]
            self._members = Members(sources, self._reply_within_s)
        return self._members

    def _request(self, members: Members, actions: list[Any]) -> set[int]:
        """A step or a reset for each that can do it; returns all, as all are to give something."""
        for index, phase in enumerate(members.phases()):
            if phase is Phase.READY and not self._ended[index]:
                members.act(index, fitting(self.single_action_space, actions[index]))
            elif phase in (Phase.IDLE, Phase.READY):
                members.reset(index, None)
        return set(range(self.num_envs))

    def _note(self, event: Event, infos: dict[str, Any]) -> dict[str, Any]:
        self._last[event.member] = event.observation
        self._ended[event.member] = isinstance(event, Moved) and (event.terminated or event.truncated)
        info = event.info
        if isinstance(event, Began) and event.member in self._recovered:
            info = {**info, "sim_recovered": self._recovered.pop(event.member)}
        return self._add_info(infos, info, event.member)

    def _note_loss(self, members: Members, index: int, infos: dict[str, Any]) -> dict[str, Any]:
        """Its cause once; the steps after it say nothing."""
        was_running, self._ended[index] = not self._ended[index], True
        loss = members.loss(index)
        if not was_running or loss is None:
            return infos
        lost = SimLost(loss.cause, loss.server)
        fields = {"cause": lost.cause, "server": lost.server, "recovery_s": lost.recovery_s}
        return self._add_info(infos, {"sim_lost": fields}, index)

    def _observations(self) -> Any:
        batch: Any = create_empty_array(self.single_observation_space, self.num_envs)
        return concatenate(self.single_observation_space, self._last, batch)

    def _check_patience(self, members: Members, waiting: set[int], deadline_s: float) -> None:
        errors = [error for index, error in enumerate(members.errors) if index in waiting and error]
        if errors and time.monotonic() > deadline_s - _FIRST_WAIT_S and members.are_failing(waiting):
            raise ServerError(f"cannot reset {len(waiting)} of {self.num_envs} environments: {errors[0]}")
        if waiting and time.monotonic() > deadline_s:
            raise ServerError(f"cannot reset {len(waiting)} of {self.num_envs} environments in time")


def _is_belated(event: Event) -> bool:
    """That a replacement is there: the loss was told in the step that met it."""
    return isinstance(event, Moved) and "sim_lost" in event.info


def _seeds(seed: int | list[int | None] | None, count: int) -> list[int | None]:
    if seed is None:
        return [None] * count
    if isinstance(seed, list | tuple | np.ndarray):
        if len(seed) != count:
            raise ValueError(f"cannot reset {count} environments with {len(seed)} seeds")
        return [None if one is None else int(one) for one in seed]
    return [int(seed) + index for index in range(count)]
