"""What a training tells: TensorBoard, progress.jsonl for scripts, and a line for people."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.live import Live
from torch.utils.tensorboard import SummaryWriter

from carlad.log import get_logger
from trainer.checkpoint import Counters, Score
from trainer.config import Config, flat
from trainer.folders import PROGRESS_FILE, Folders
from trainer.player import Episode
from trainer.scores import Summary

log = get_logger("carlad.trainer")

_EPISODES_AVERAGED = 50
_EVALUATED = ("success_rate", "route_completion", "driving_score_2_0", "driving_score_2_1", "episodic_return")
_UPDATES_IN_RATE = 10
_LOG_EVERY_S = 10.0  # where there is no terminal to draw a line on


class Report:
    """Writes one training's figures to its folders, and shows them on `console`. Close it.

    Whatever TensorBoard has of steps after `env_steps`, from before a resumption, is no longer shown.
    """

    def __init__(self, where: Folders, config: Config, console: Console, env_steps: int) -> None:
        self._config = config
        self._writer = SummaryWriter(str(where.tensorboard), purge_step=env_steps + 1)
        self._writer.add_text("config", _table(config))
        self._file = (where.run / PROGRESS_FILE).open("a", buffering=1)
        self._episodes: deque[Episode] = deque(maxlen=_EPISODES_AVERAGED)
        self._rate: deque[tuple[float, int]] = deque(maxlen=_UPDATES_IN_RATE + 1)
        self._logged_s = -_LOG_EVERY_S
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        if self._live is not None:
            self._live.start()

    def update(self, counters: Counters, episodes: list[Episode], losses: dict[str, float]) -> None:
        """Tell about an update of the learner and the episodes that ended before it."""
        self._episodes.extend(episodes)
        figures = {"sps": self._steps_per_s(counters), "sim_lost": counters.sim_lost, **self._averages()}
        for name, value in figures.items():
            self._scalar(f"charts/{name}", value, counters.env_steps)
        for name, value in losses.items():
            self._scalar(f"losses/{name}", value, counters.env_steps)
        self._write({**self._where(counters), **figures, "losses": losses})
        self._show(counters, figures)

    def evaluation(self, which: str, counters: Counters, evaluation: Summary) -> None:
        """Tell about the evaluation at the "start" or the "end"."""
        figures: dict[str, Any] = {"episodes": evaluation.episodes, "reasons": evaluation.reasons}
        for name in _EVALUATED:
            if (value := getattr(evaluation, name)) is not None:
                figures[name] = value.mean
                self._scalar(f"evaluation/{name}", value.mean, counters.env_steps)
        self._write({"evaluation": which, **self._where(counters), **figures})
        log.info(f"evaluation.{which}", **figures)

    def score(self, stage: int) -> Score | None:
        """Of the last episodes, of which there must be enough for a comparison."""
        if len(self._episodes) < _EPISODES_AVERAGED:
            return None
        averages = self._averages()
        return Score(stage, averages["success_rate"], averages["episodic_return"])

    def close(self) -> None:
        """Flush and close everything."""
        if self._live is not None:
            self._live.stop()
        self._file.close()
        self._writer.close()

    def _averages(self) -> dict[str, float]:
        """Over the last episodes; empty before the first has ended."""
        if not self._episodes:
            return {}
        return {
            "success_rate": float(np.mean([episode.info["success"] for episode in self._episodes])),
            "route_completion": float(
                np.mean([episode.info["route_completion"] for episode in self._episodes])
            ),
            "episodic_return": float(np.mean([episode.episodic_return for episode in self._episodes])),
            "episodic_length": float(np.mean([episode.length for episode in self._episodes])),
        }

    def _steps_per_s(self, counters: Counters) -> float:
        """Over the last updates, learning included."""
        self._rate.append((counters.seconds, counters.env_steps))
        (first_s, first), (last_s, last) = self._rate[0], self._rate[-1]
        if last_s > first_s:
            return (last - first) / (last_s - first_s)
        return counters.env_steps / counters.seconds if counters.seconds else 0.0

    def _where(self, counters: Counters) -> dict[str, Any]:
        return {
            "env_steps": counters.env_steps,
            "env_steps_total": self._config.train.total_steps,
            "updates": counters.updates,
            "episodes": counters.episodes,
            "seconds": round(counters.seconds, 3),
        }

    def _scalar(self, tag: str, value: float, env_steps: int) -> None:
        self._writer.add_scalar(tag, value, env_steps)

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(msgspec.json.encode(entry).decode() + "\n")

    def _show(self, counters: Counters, figures: dict[str, float]) -> None:
        line = (
            f"{counters.env_steps:,} of {self._config.train.total_steps:,} steps, "
            f"{figures['sps']:,.0f} steps/s, "
            f"success rate {figures.get('success_rate', 0.0):.2f}, "
            f"return {figures.get('episodic_return', 0.0):.1f}, "
            f"{counters.episodes:,} episodes, {counters.sim_lost} simulators lost"
        )
        if self._live is not None:
            self._live.update(line, refresh=True)
        elif time.monotonic() - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = time.monotonic()
            log.info("training", env_steps=counters.env_steps, episodes=counters.episodes, **figures)


def _table(config: Config) -> str:
    """The resolved configuration as a Markdown table, for TensorBoard."""
    rows = [f"|{key}|{value}|" for key, value in flat(config).items()]
    return "\n".join(["|key|value|", "|-|-|", *rows])
