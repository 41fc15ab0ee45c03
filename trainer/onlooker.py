"""Watches one episode of a training now and then, as a viewer does, so that the training need not."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carlad.telemetry import Bundle, Lanes, Subscriber, TelemetryError
from trainer import picture

_CHANNELS = ("map", "ego", "actors", "route", "reward")
_LOOK_S = 0.2
_EPISODE_MAX_S = 120.0  # longer ones are shown as far as they came
_BUNDLES_MAX = 4000


class Seen(NamedTuple):
    """An episode that was watched, until another one began."""

    bundles: list[Bundle]
    lanes: Lanes | None


class Onlooker:
    """A thread that watches an episode every `every_s` and draws it. Used in a `with`."""

    def __init__(self, endpoint: Callable[[], str | None], every_s: float) -> None:
        """`endpoint`: of the telemetry to watch, None while there is none."""
        self._endpoint, self._every_s = endpoint, every_s
        self._pictures: queue.Queue[NDArray[np.uint8]] = queue.Queue(maxsize=1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onlooker")

    def picture(self) -> NDArray[np.uint8] | None:
        """The next picture, uint8 (H, W, 3), RGB, if there is one that was not yet given."""
        try:
            return self._pictures.get_nowait()
        except queue.Empty:
            return None

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            endpoint = self._endpoint()
            seen = watch(endpoint, self._over.is_set) if endpoint is not None else None
            if seen is not None and not self._pictures.full():
                self._pictures.put(picture.draw(seen.bundles, seen.lanes))
            self._over.wait(self._every_s if seen is not None else _LOOK_S)


def watch(endpoint: str, over: Callable[[], bool]) -> Seen | None:
    """The next episode from its beginning; None if there was none until `over`, or too long."""
    try:
        subscriber = Subscriber(endpoint, _CHANNELS)
    except TelemetryError:
        return None
    try:
        return _episode(subscriber, over)
    finally:
        subscriber.close()


def _episode(subscriber: Subscriber, over: Callable[[], bool]) -> Seen | None:
    first: int | None = None  # the episode that was under way
    bundles: list[Bundle] = []
    deadline_s = time.monotonic() + _EPISODE_MAX_S
    while not over() and time.monotonic() < deadline_s and len(bundles) < _BUNDLES_MAX:
        if (frame := subscriber.newest(_LOOK_S)) is None or frame.bundle.ego is None:
            continue
        if first is None:
            first = frame.bundle.episode
        if bundles and frame.bundle.episode != bundles[0].episode:
            break
        if frame.bundle.episode != first:
            bundles.append(frame.bundle)
    return Seen(bundles, subscriber.lanes) if bundles and not over() else None
