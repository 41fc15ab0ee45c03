"""What one picture shows, wherever it comes from."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from carlad.errors import CarladError
from carlad.telemetry import Array, Bundle, Lanes

SAMPLES_MAX = 300  # of a strip: ten seconds of live pictures


class ViewerError(CarladError):
    """There is nothing to show, or nowhere; the message says why and what to do."""


class Session(msgspec.Struct, frozen=True):
    """A session's name and the endpoint of its telemetry."""

    session: str
    telemetry: str


def session_name(session: Session, bundle: Bundle | None) -> str:
    """As it was asked for; one that was given by its endpoint alone has the name that it says itself."""
    told = bundle.session if bundle is not None else ""
    return told if told and session.session == session.telemetry else session.session


class Signal(Enum):
    """How the telemetry comes in."""

    WAITING = "waiting for the first picture"
    LIVE = "live"
    LOST = "no telemetry"
    FROZEN = "picture paused"
    REPLAY = "replay"


@dataclass(frozen=True)
class Timeline:
    """Where a replay is, in seconds from its begin."""

    at_s: float
    duration_s: float
    speed: float
    is_playing: bool


class History:
    """The last values of what the strips show, oldest first."""

    def __init__(self) -> None:
        self.series: dict[str, deque[float]] = {}

    def note(self, bundle: Bundle, latency_s: float | None) -> None:
        """Take in one tick."""
        values = {
            "speed km/h": bundle.ego.speed_mps * 3.6 if bundle.ego else math.nan,
            "steer": bundle.control.steer if bundle.control else math.nan,
            "reward": sum(bundle.reward_terms.values()),
            "return": bundle.episode_return,
        }
        if latency_s is not None:
            values["latency ms"] = latency_s * 1000
        for name, value in values.items():
            self.series.setdefault(name, deque(maxlen=SAMPLES_MAX)).append(value)


@dataclass(frozen=True)
class Scene:
    """All that one picture shows. `age_s` counts from the arrival of the bundle, or from attaching.

    `said` is what happened to the viewer itself, across the picture; `recorded_s` how long it records.
    """

    session: Session
    signal: Signal
    age_s: float
    bundle: Bundle | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    lanes: Lanes | None = None
    history: History | None = None
    latency_s: float | None = None
    said: str | None = None
    recorded_s: float | None = None
    timeline: Timeline | None = None
