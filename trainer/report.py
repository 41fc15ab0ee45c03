"""What a training tells: TensorBoard, progress.jsonl for scripts, and a line for people."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from torch.utils.tensorboard import SummaryWriter

from carlad.log import get_logger
from trainer.checkpoint import Counters, Score
from trainer.config import Config, flat
from trainer.figures import EPISODES_AVERAGED, Figures, Round, averages
from trainer.folders import PROGRESS_FILE, Folders
from trainer.scores import Summary

log = get_logger("carlad.trainer")

_LOG_EVERY_S = 10.0  # where there is no terminal to draw a line on
_EVALUATED = ("success_rate", "route_completion", "driving_score_2_0", "driving_score_2_1", "episodic_return")


class Report:
    """Writes one training's figures to its folders, and shows them on `console`. Close it.

    Whatever TensorBoard has of steps after `env_steps`, from before a resumption, is no longer shown.
    """

    def __init__(
        self, where: Folders, config: Config, console: Console, env_steps: int, ranks: int = 1
    ) -> None:
        """`ranks`: processes that have as many sessions each as the configuration says."""
        self._config = config
        self._sessions = config.servers.sessions * ranks
        self._writer = SummaryWriter(str(where.tensorboard), purge_step=env_steps + 1)
        self._writer.add_text("config", _table(config))
        self._file = (where.run / PROGRESS_FILE).open("a", buffering=1)
        self._figures = Figures(self._sessions)
        self._logged_s = -_LOG_EVERY_S
        self._stage: int | None = None  # of the curriculum, told last
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        if self._live is not None:
            self._live.start()

    def update(self, counters: Counters, round_: Round) -> None:
        """Tell about an update of the learner and the episodes that ended before it."""
        figures = self._figures.add(round_, counters.seconds, counters.sim_lost)
        for name, value in figures.items():
            self._scalar(name, value, counters.env_steps)
        charts = {name.partition("/")[2]: v for name, v in figures.items() if name.startswith("charts/")}
        others = {
            name: value for name, value in figures.items() if not name.startswith(("charts/", "losses/"))
        }
        self._write({**self._where(counters), **charts, "losses": dict(round_.losses), **others})
        self._tell_stage(counters, round_.stage)
        self._show(counters, round_, charts)

    def picture(self, counters: Counters, image: NDArray[np.uint8]) -> None:
        """Show how an episode was driven, uint8 (H, W, 3), RGB."""
        self._writer.add_image("episode", image, counters.env_steps, dataformats="HWC")

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
        if len(self._figures.episodes) < EPISODES_AVERAGED:
            return None
        figures = averages(self._figures.episodes)
        return Score(stage, figures["success_rate"], figures["episodic_return"])

    def close(self) -> None:
        """Flush and close everything."""
        if self._live is not None:
            self._live.stop()
        self._file.close()
        self._writer.close()

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

    def _tell_stage(self, counters: Counters, stage: int) -> None:
        stages = self._config.curriculum.stages
        if stages and stage != self._stage:
            before = None if self._stage is None else stages[self._stage].name
            log.info(
                "curriculum.stage", stage=stages[stage].name, before=before, env_steps=counters.env_steps
            )
            self._stage = stage

    def _show(self, counters: Counters, round_: Round, charts: dict[str, float]) -> None:
        if self._live is not None:
            self._live.update(self._line(counters, round_, charts), refresh=True)
        elif time.monotonic() - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = time.monotonic()
            servers = f"{round_.servers}/{self._sessions}"
            log.info(
                "training",
                env_steps=counters.env_steps,
                episodes=counters.episodes,
                servers=servers,
                **charts,
            )

    def _line(self, counters: Counters, round_: Round, charts: dict[str, float]) -> str:
        train = self._config.train
        of_episodes = f" of {train.episodes_max:,}" if train.episodes_max else ""
        parts = [
            f"{counters.env_steps:,} of {train.total_steps:,} steps",
            f"{counters.episodes:,}{of_episodes} episodes",
            f"{charts.get('sps', 0.0):,.0f} steps/s",
            f"success {charts.get('success_rate', 0.0):.2f}",
            f"return {charts.get('episodic_return', 0.0):.1f}",
            f"{round_.servers} of {self._sessions} servers, {counters.sim_lost} lost",
        ]
        if stages := self._config.curriculum.stages:
            parts.append(f"stage {stages[round_.stage].name}")
        return " · ".join(parts)


def _table(config: Config) -> str:
    """The resolved configuration as a Markdown table, for TensorBoard."""
    rows = [f"|{key}|{value}|" for key, value in flat(config).items()]
    return "\n".join(["|key|value|", "|-|-|", *rows])
