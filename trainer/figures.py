"""What a training's rounds add up to: averages over the last episodes, speeds, losses of simulators. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from trainer.player import Episode

EPISODES_AVERAGED = 50
_ROUNDS_IN_RATE = 10
_LOSSES_AVERAGED = 20
_OF_INFO = ("success", "route_completion", "driving_score_2_0", "driving_score_2_1")
_NAMES = {"success": "success_rate"}


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of experience and what was learned from it."""

    env_steps: int
    """Of this round, and all processes."""
    spent_s: Mapping[str, float]
    """By phase; "collect" and "learn" are those whose speed is told."""
    finished: Sequence[Episode]
    lost: Sequence[Mapping[str, Any]]
    """`sim_lost` of the episodes that lost their simulator."""
    losses: Mapping[str, float]
    servers: int
    """Environments that have a server now."""
    stage: int = 0


class Figures:
    """Takes in rounds, and names what is worth showing as GROUP/NAME, as TensorBoard does."""

    def __init__(self, sessions: int) -> None:
        self.episodes: deque[Episode] = deque(maxlen=EPISODES_AVERAGED)
        self._sessions = sessions
        self._rounds: deque[tuple[float, int]] = deque(maxlen=_ROUNDS_IN_RATE)
        self._recovery_s: deque[float] = deque(maxlen=_LOSSES_AVERAGED)

    def add(self, round_: Round, seconds: float, sim_lost: int) -> dict[str, float]:
        """The figures after this round; `seconds` of training and simulators lost are those of all rounds."""
        self.episodes.extend(round_.finished)
        self._rounds.append((sum(round_.spent_s.values()), round_.env_steps))
        self._recovery_s.extend(float(loss["recovery_s"]) for loss in round_.lost)
        groups = {
            "charts": {**self._speeds(round_), "sim_lost": sim_lost, **averages(self.episodes)},
            "curriculum": {"stage": float(round_.stage)},
            "losses": round_.losses,
            "reward": _means([episode.reward_terms for episode in self.episodes]),
            "infractions": _means([episode.info.get("infractions", {}) for episode in self.episodes]),
            "ends": self._ends(),
            "sims": self._sims(round_, seconds, sim_lost),
            "time": {f"{phase}_s": spent for phase, spent in round_.spent_s.items()},
        }
        return {f"{group}/{name}": value for group, named in groups.items() for name, value in named.items()}

    def _speeds(self, round_: Round) -> dict[str, float]:
        """Steps a second: of all together over the last rounds, of the environments and the learner alone."""
        spent_s, steps = sum(spent for spent, _ in self._rounds), sum(steps for _, steps in self._rounds)
        speeds = {"sps": steps / spent_s} if spent_s else {}
        for phase, name in (("collect", "sps_env"), ("learn", "sps_learner")):
            if phase_s := round_.spent_s.get(phase):
                speeds[name] = round_.env_steps / phase_s
        return speeds

    def _ends(self) -> dict[str, float]:
        """Which share of the episodes ended for which reason."""
        reasons = [episode.info["reason"] for episode in self.episodes if "reason" in episode.info]
        return {reason: reasons.count(reason) / len(reasons) for reason in sorted(set(reasons))}

    def _sims(self, round_: Round, seconds: float, sim_lost: int) -> dict[str, float]:
        """Mean time between failures is that of one server."""
        figures = {"servers": float(round_.servers)}
        if sim_lost:
            figures["mtbf_s"] = self._sessions * seconds / sim_lost
        if self._recovery_s:
            figures["recovery_s"] = float(np.mean(self._recovery_s))
        return figures


def averages(episodes: Iterable[Episode]) -> dict[str, float]:
    """Over the episodes; empty where there are none."""
    found = list(episodes)
    if not found:
        return {}
    figures = {
        "episodic_return": float(np.mean([episode.episodic_return for episode in found])),
        "episodic_length": float(np.mean([episode.length for episode in found])),
    }
    for key in _OF_INFO:
        values = [float(episode.info[key]) for episode in found if key in episode.info]
        if values:
            figures[_NAMES.get(key, key)] = float(np.mean(values))
    return figures


def _means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each key over all tables; a table without the key counts as 0."""
    keys = sorted({key for table in tables for key in table})
    return {key: sum(table.get(key, 0.0) for table in tables) / len(tables) for key in keys}
