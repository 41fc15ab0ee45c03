"""What there is to see: the sessions of a run, and the newest tick of the one that is watched."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from carlad.errors import CarladError
from carlad.telemetry import Array, Bundle, Lanes, Subscriber

SESSIONS_FILE = "sessions.json"
CAMERA = "camera"
STALE_AFTER_S = 2.0  # far longer than a tick or a reset takes, so a picture that still moves never blinks
_LOOK_AGAIN_S = 1.0  # how often the run directory is read while nothing comes


class ViewerError(CarladError):
    """There is nothing to show, or nowhere; the message says why and what to do."""


class NoRunError(ViewerError):
    """There is no such run, or none yet."""


class Session(msgspec.Struct, frozen=True):
    """A session's name and the endpoint of its telemetry."""

    session: str
    telemetry: str


class _Sessions(msgspec.Struct, frozen=True):
    sessions: list[Session]


class Signal(Enum):
    """How the telemetry comes in."""

    WAITING = "waiting for the first picture"
    LIVE = "live"
    LOST = "no telemetry"


@dataclass(frozen=True)
class Scene:
    """All that one picture shows. `age_s` counts from the arrival of the bundle, or from attaching."""

    session: Session
    signal: Signal
    age_s: float
    bundle: Bundle | None = None
    camera: Array | None = None
    lanes: Lanes | None = None


def newest_run(data: Path) -> Path:
    """The run directory under `data` that was written to last. Raises NoRunError if there is none."""
    found = list(data.rglob(SESSIONS_FILE)) if data.is_dir() else []
    if not found:
        raise NoRunError(
            f"cannot find a run: no {SESSIONS_FILE} under {data}; "
            "start a training, or name one with --run or --telemetry"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def read_sessions(run: Path) -> list[Session]:
    """The sessions that a run directory lists. Raises ViewerError, NoRunError if there is no list."""
    path = run / SESSIONS_FILE
    try:
        sessions = msgspec.json.decode(path.read_bytes(), type=_Sessions).sessions
    except FileNotFoundError as error:
        raise NoRunError(f"cannot read the sessions of {run}: {error}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise ViewerError(f"cannot read the sessions of {run}: {error}") from error
    if not sessions:
        raise ViewerError(f"cannot watch {run}: {SESSIONS_FILE} lists no session")
    return sessions


class Feed:
    """One session's telemetry. The caller closes it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._subscriber = Subscriber(session.telemetry, ("map", CAMERA))
        self._bundle: Bundle | None = None
        self._camera: Array | None = None
        self._heard_s = time.monotonic()

    def update(self, wait_s: float) -> bool:
        """Take in the newest tick; waits up to `wait_s` for one. True if there was one."""
        news = self._subscriber.newest(wait_s)
        if news is not None:
            self._bundle, arrays = news
            self._camera = arrays.get(CAMERA)
            self._heard_s = time.monotonic()
        return news is not None

    def scene(self) -> Scene:
        """The newest tick, and how fresh it is."""
        age_s = time.monotonic() - self._heard_s
        lost = Signal.LOST if age_s > STALE_AFTER_S else Signal.LIVE
        return Scene(
            session=self.session,
            signal=Signal.WAITING if self._bundle is None else lost,
            age_s=age_s,
            bundle=self._bundle,
            camera=self._camera,
            lanes=self._subscriber.lanes,
        )

    def close(self) -> None:
        """Leave."""
        self._subscriber.close()


class Source:
    """The sessions of a run and the feed of the one that is watched.

    `run` is the directory that the sessions were read from; while nothing comes it is read again, so that a
    session is followed to another endpoint. The caller closes it.
    """

    def __init__(self, sessions: list[Session], chosen: int = 0, run: Path | None = None) -> None:
        self.sessions = sessions
        self._run = run
        self._looked_s = time.monotonic()
        self._feed = Feed(sessions[chosen])

    def update(self, wait_s: float) -> bool:
        """Take in the newest tick; waits up to `wait_s` for one. True if there was one."""
        if self._feed.update(wait_s):
            return True
        now_s = time.monotonic()
        if self._run is not None and min(self.scene().age_s, now_s - self._looked_s) > _LOOK_AGAIN_S:
            self._looked_s = now_s
            self._follow(self._run)
        return False

    def scene(self) -> Scene:
        """What there is to draw."""
        return self._feed.scene()

    def next_session(self) -> None:
        """Watch the next session, the first one after the last."""
        names = [session.session for session in self.sessions]
        self._watch(self.sessions[(names.index(self._feed.session.session) + 1) % len(names)])

    def close(self) -> None:
        """Leave."""
        self._feed.close()

    def _watch(self, session: Session) -> None:
        self._feed.close()
        self._feed = Feed(session)

    def _follow(self, run: Path) -> None:
        """Read the run's sessions again; attach anew if the watched one has moved or is gone."""
        try:
            self.sessions = read_sessions(run)
        except ViewerError:
            return  # gone with its run: what is on the screen stays
        watched = self._feed.session
        there = next((s for s in self.sessions if s.session == watched.session), self.sessions[0])
        if there != watched:
            self._watch(there)
