"""Recordings of a training's episodes: what was observed, done and earned, as MCAP files.

A file is one episode: "/step" has the observation's parts as "observation.KEY" and "action", exactly; then
"/outcome" what came of it: reward, its terms, terminated, truncated, and with the last step the scores.
Beside them is what a viewer would have seen (`record.channels`, raw sensors if they are named there), at a
viewer's rate: `python -m viz` replays it, Foxglove shows it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from carlad.log import get_logger
from carlad.recording import Recorder, RecordingError
from carlad.session.members import Began, Event, Members, Moved
from carlad.session.sources import Source
from carlad.telemetry import Lanes, Subscriber, TelemetryError
from trainer import spaces
from trainer.config import RecordConfig

log = get_logger("carlad.trainer")

STEP, OUTCOME = "/step", "/outcome"


class RecordedMembers(Members):
    """Environment sessions of which an episode is recorded now and then."""

    def __init__(self, sources: Sequence[Source], reply_within_s: float, recordings: Recordings) -> None:
        super().__init__(sources, reply_within_s)
        self._recordings = recordings

    def act(self, index: int, action: Any) -> None:
        self._recordings.acted(index, action)
        super().act(index, action)

    def events(self, wait_s: float) -> list[Event]:
        news = super().events(wait_s)
        for event in news:
            self._recordings.note(event, self.telemetry[event.member])
        return news

    def close(self) -> None:
        self._recordings.close()
        super().close()


class Recordings:
    """One episode at a time, as often and as much as the configuration allows.

    A crash costs the last second of one. Where the disk cannot take more, the training goes on without.
    """

    def __init__(self, folder: Path, config: RecordConfig) -> None:
        self._folder, self._config = folder, config
        self._recorder: Recorder | None = None
        self._viewer: Subscriber | None = None
        self._lanes: Lanes | None = None  # that were recorded
        self._member = -1  # whose episode is recorded
        self._observation: Any = None  # that waits for its action
        self._steps = 0
        self._next_s = 0.0
        self._over = config.every_s == 0
        self._files = 0

    def note(self, event: Event, telemetry: str | None = None) -> None:
        """What happened in an environment, whose telemetry is at the endpoint."""
        if isinstance(event, Began):
            if event.member == self._member:
                self._end()  # the episode before was given up
            if self._is_due():
                self._begin(event, telemetry)
        elif event.member == self._member:
            self._moved(event)
        if event.member == self._member:
            self._observation = event.observation

    def acted(self, member: int, action: Any) -> None:
        """What is done next in an environment."""
        if member != self._member or self._observation is None:
            return
        if self._steps % self._config.every_steps == 0:
            parts = {f"observation.{key}": part for key, part in spaces.parts(self._observation).items()}
            self._write(STEP, {**parts, "action": np.asarray(action)})

    def close(self) -> None:
        """End what is under way. May be called again."""
        self._end()

    def _is_due(self) -> bool:
        return self._recorder is None and not self._over and time.monotonic() >= self._next_s

    def _begin(self, event: Began, telemetry: str | None) -> None:
        if self._files >= self._config.episodes_max or self._size() >= self._config.megabytes_max * 1e6:
            log.info("recording.full", folder=self._folder, episodes=self._files)
            self._over = True
            return
        self._next_s = time.monotonic() + self._config.every_s
        path = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{self._files:05}-env-{event.member}.mcap"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._recorder = Recorder(path, {"environment": str(event.member)})
            if telemetry is not None and self._config.channels:
                self._viewer = Subscriber(telemetry, self._config.channels)
        except (OSError, RecordingError, TelemetryError, ValueError) as error:
            self._fail(error)
            return
        self._member, self._steps, self._files = event.member, 0, self._files + 1

    def _moved(self, step: Moved) -> None:
        ended = step.terminated or step.truncated
        if ended or self._steps % self._config.every_steps == 0:
            told = {"reward": step.reward, "terminated": step.terminated, "truncated": step.truncated}
            self._write(OUTCOME, {"step": self._steps, **told, **step.info})
        self._see()
        self._steps += 1
        if ended:
            self._end()

    def _see(self) -> None:
        """What the viewer has got meanwhile."""
        if self._viewer is None or self._recorder is None or (frame := self._viewer.newest()) is None:
            return
        try:
            if self._viewer.lanes is not self._lanes and self._viewer.lanes is not None:
                self._lanes = self._viewer.lanes
                self._recorder.lanes(self._lanes)
            self._recorder.frame(frame)
        except RecordingError as error:
            self._fail(error)

    def _write(self, topic: str, content: dict[str, Any]) -> None:
        if self._recorder is None:
            return
        try:
            if topic == STEP:
                self._recorder.arrays(topic, content)
            else:
                self._recorder.values(topic, content)
        except RecordingError as error:
            self._fail(error)

    def _end(self) -> None:
        recorder, self._recorder, self._member, self._observation = self._recorder, None, -1, None
        self._leave()
        if recorder is not None:
            try:
                recorder.close()
            except RecordingError as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        log.error("recording.failed", reason=error, advice="the training goes on without recordings")
        self._over = True
        recorder, self._recorder, self._member = self._recorder, None, -1
        self._leave()
        if recorder is not None:
            with suppress(RecordingError):
                recorder.close()

    def _leave(self) -> None:
        viewer, self._viewer, self._lanes = self._viewer, None, None
        if viewer is not None:
            viewer.close()

    def _size(self) -> int:
        """Bytes of the recordings in the folder."""
        return sum(file.stat().st_size for file in self._folder.glob("*.mcap"))
