"""A recording as a source of scenes: it plays, stands still, steps, and goes to any time."""

from __future__ import annotations

import bisect
import time
from pathlib import Path

from carlad.recording import Reader, RecordingError
from carlad.telemetry import Frame
from viz.scene import SAMPLES_MAX, History, Scene, Session, Signal, Timeline, ViewerError

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_SAID_S = 6.0
_REST_S = 0.005  # while nothing is due


class Replay:
    """The frames of a recording against the clock. The caller closes it."""

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        """Raises RecordingError for what is none, ViewerError for one without pictures."""
        self.reader = Reader(path)
        times = self.reader.frame_times_ns
        if not times:
            self.reader.close()
            there = ", ".join(topic.name for topic in self.reader.info.topics) or "nothing"
            raise ViewerError(f"cannot replay {path}: there are no frames in it, but {there}")
        self.times_s = [(at_ns - times[0]) / 1e9 for at_ns in times]
        self.speed, self.is_playing = speed, True
        self._name = path.name
        self._number = 0
        self._at_s = 0.0
        self._looked_s = time.monotonic()
        self._history = History()
        self._noted = -1
        self._said: tuple[str, float] | None = None
        self._frame: Frame = self.reader.frame(0)
        self._note(0)

    @property
    def duration_s(self) -> float:
        return self.times_s[-1]

    @property
    def number(self) -> int:
        """Of the frame that is shown, from 0."""
        return self._number

    def update(self, wait_s: float) -> bool:
        """Go on with the clock, waiting up to `wait_s` for the next frame; True if there is another."""
        deadline_s = time.monotonic() + wait_s
        while True:
            now_s = time.monotonic()
            if self.is_playing:
                self._at_s = min(self.duration_s, self._at_s + (now_s - self._looked_s) * self.speed)
                self.is_playing = self._at_s < self.duration_s
            self._looked_s = now_s
            if self._show(bisect.bisect_right(self.times_s, self._at_s) - 1):
                return True
            if now_s >= deadline_s:
                return False
            time.sleep(min(_REST_S, max(0.0, deadline_s - now_s)))

    def scene(self) -> Scene:
        """What there is to draw."""
        said = self._said if self._said is not None and time.monotonic() - self._said[1] < _SAID_S else None
        bundle = self._frame.bundle
        return Scene(
            session=Session(bundle.session or self._name, str(self.reader.path)),
            signal=Signal.REPLAY,
            age_s=max(0.0, self._at_s - self.times_s[self._number]),
            bundle=bundle,
            arrays=self._frame.arrays,
            lanes=self.reader.lanes(self._number),
            history=self._history,
            said=said[0] if said is not None else None,
            timeline=Timeline(self._at_s, self.duration_s, self.speed, self.is_playing),
        )

    def toggle(self) -> None:
        """Play, or stand still; from the begin again at the end."""
        if not self.is_playing and self._at_s >= self.duration_s:
            self.go_to(0.0)
        self.is_playing, self._looked_s = not self.is_playing, time.monotonic()

    def go_to(self, at_s: float) -> None:
        """Go to that time, as far as the recording goes."""
        self._at_s = min(self.duration_s, max(0.0, at_s))
        self._looked_s = time.monotonic()

    def step(self, frames: int) -> None:
        """Stand still, so many frames ahead (or back) of the present one."""
        self.is_playing = False
        number = min(len(self.times_s) - 1, max(0, self._number + frames))
        self.go_to(self.times_s[number])

    def change_speed(self, steps: int) -> None:
        """Quicker or slower by so many steps of SPEEDS."""
        nearest = min(range(len(SPEEDS)), key=lambda index: abs(SPEEDS[index] - self.speed))
        self.speed = SPEEDS[min(len(SPEEDS) - 1, max(0, nearest + steps))]

    def say(self, text: str) -> None:
        """Write it across the picture for a while."""
        self._said = text, time.monotonic()

    def close(self) -> None:
        self.reader.close()

    def _show(self, number: int) -> bool:
        """Show that frame; False if it is shown already. One that is damaged is skipped, and that is said."""
        if number == self._number:
            return False
        self._number = number
        try:
            self._frame = self.reader.frame(number)
        except RecordingError as error:
            self.say(str(error))
            return True
        self._note(number)
        return True

    def _note(self, number: int) -> None:
        """Keep the strips' values up to that frame; a jump begins them anew."""
        if not 0 < number - self._noted <= SAMPLES_MAX:
            self._history = History()
        self._history.note(self._frame.bundle, None)
        self._noted = number
