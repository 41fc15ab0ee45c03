"""The event camera (DVS): pixels that report changes of brightness, each at its own time.

A pixel's brightness is taken to change evenly from one image to the next; it reports every time it has gone
one threshold away from where it last reported. After Rebecq, Gehrig, Scaramuzza: ESIM: an open event camera
simulator, CoRL 2018, which CARLA's DVS follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.cameras import Image

EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("polarity", "?")])  # 13 bytes, t in ns

_LUMA_BGR = np.array((0.114, 0.587, 0.299), np.float32)
_THRESHOLD_MIN = 0.01

Brightness = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EventModel:
    """Thresholds and their noise in units of brightness: its logarithm, or a share of white.

    Raises ValueError where a threshold is not positive.
    """

    positive_threshold: float = 0.3
    negative_threshold: float = 0.3
    positive_sigma: float = 0.0
    negative_sigma: float = 0.0
    refractory_ns: int = 0
    use_log: bool = True
    log_eps: float = 0.001

    def __post_init__(self) -> None:
        if not min(self.positive_threshold, self.negative_threshold, self.log_eps) > 0.0:
            raise ValueError("cannot make an event camera: its thresholds and log_eps must be positive")

    @staticmethod
    def from_attributes(values: Mapping[str, str]) -> EventModel:
        """By the blueprint's attributes; CARLA's defaults where one is missing."""
        return EventModel(
            positive_threshold=float(values.get("positive_threshold", "0.3")),
            negative_threshold=float(values.get("negative_threshold", "0.3")),
            positive_sigma=float(values.get("sigma_positive_threshold", "0.0")),
            negative_sigma=float(values.get("sigma_negative_threshold", "0.0")),
            refractory_ns=int(values.get("refractory_period_ns", "0")),
            use_log=values.get("use_log", "true").lower() == "true",
            log_eps=float(values.get("log_eps", "0.001")),
        )


class EventCamera:
    """Turns a series of images into events. The first image only says where brightness starts."""

    def __init__(self, model: EventModel, seed: int) -> None:
        self._model = model
        self._chance = np.random.default_rng(seed)
        self._before: tuple[Brightness, int] | None = None
        self._reported = np.empty((0, 0))  # brightness at each pixel's last event
        self._quiet_until_ns = np.empty((0, 0), np.int64)

    def events(self, image: Image, time_ns: int) -> npt.NDArray[np.void]:
        """EVENT (N,), by time: what happened since the last image."""
        now = self._brightness(image)
        before, self._before = self._before, (now, time_ns)
        if before is None:
            self._reported = now.copy()
            self._quiet_until_ns = np.zeros(now.shape, np.int64)
            return np.empty(0, EVENT)
        events = np.concatenate([np.empty(0, EVENT), *self._crossings(*before, now, time_ns)])
        return events[np.argsort(events["t"], kind="stable")]

    def _brightness(self, image: Image) -> Brightness:
        grey = (image[..., :3] @ _LUMA_BGR).astype(np.float64) / 255.0
        return np.log(self._model.log_eps + grey) if self._model.use_log else grey

    def _crossings(
        self, then: Brightness, then_ns: int, now: Brightness, now_ns: int
    ) -> Iterator[npt.NDArray[np.void]]:
        """The first event of every pixel that has one, then the second, and so on."""
        rising = now >= self._reported
        step = np.where(rising, self._thresholds(now.shape, True), -self._thresholds(now.shape, False))
        change = np.where(now == then, 1.0, now - then)
        left = np.floor((now - self._reported) / step).astype(np.int64)
        while True:
            y, x = np.nonzero(left > 0)
            if not len(y):
                return
            self._reported[y, x] += step[y, x]
            share = np.clip((self._reported[y, x] - then[y, x]) / change[y, x], 0.0, 1.0)
            at_ns = then_ns + (share * (now_ns - then_ns)).astype(np.int64)
            left[y, x] -= 1
            heard = at_ns >= self._quiet_until_ns[y, x]
            y, x, at_ns = y[heard], x[heard], at_ns[heard]
            self._quiet_until_ns[y, x] = at_ns + self._model.refractory_ns
            events = np.empty(len(y), EVENT)
            events["x"], events["y"], events["t"], events["polarity"] = x, y, at_ns, rising[y, x]
            yield events

    def _thresholds(self, shape: tuple[int, ...], rising: bool) -> Brightness:
        model = self._model
        threshold = model.positive_threshold if rising else model.negative_threshold
        sigma = model.positive_sigma if rising else model.negative_sigma
        if sigma <= 0.0:
            return np.full(shape, max(threshold, _THRESHOLD_MIN))
        return np.maximum(self._chance.normal(threshold, sigma, shape), _THRESHOLD_MIN)
