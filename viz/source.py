"""The newest tick of the session that is watched, live, and what a viewer may do to that session."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from carlad.recording import Recorder, RecordingError
from carlad.telemetry import Bundle, Frame, Lanes, Subscriber
from carlad.telemetry.bundle import BEV, CAMERA, LIDAR, MAP, NUMBERS, PAUSE, VIEW_PREFIX
from viz.scene import History, Scene, Session, Signal, ViewerError, session_name
from viz.sessions import Listing

CHANNELS = (MAP, *NUMBERS, CAMERA, BEV, LIDAR)
STALE_AFTER_S = 2.0  # far longer than a tick or a reset takes, so a picture that still moves never blinks
_LOOK_AGAIN_S = 1.0  # how often the list of sessions is read while nothing comes
_SAID_S = 6.0  # how long what happened stands in the picture
_RATE_HZ = 30


class Feed:
    """One session's telemetry. The caller closes it."""

    def __init__(self, session: Session, channels: Iterable[str] = CHANNELS, rate_hz: int = _RATE_HZ) -> None:
        self.session = session
        self.history = History()
        self.frame: Frame | None = None
        self.latency_s: float | None = None
        self.moved_from: str | None = None  # the server before the newest
        self.moved_s = 0.0
        self.is_pausing = False
        self._channels, self._rate_hz = frozenset(channels), rate_hz
        self._subscriber = Subscriber(session.telemetry, self._channels, rate_hz)
        self._lanes: Lanes | None = None
        self._heard_s = time.monotonic()

    @property
    def bundle(self) -> Bundle | None:
        return self.frame.bundle if self.frame is not None else None

    @property
    def lanes(self) -> Lanes | None:
        self._lanes = self._subscriber.lanes or self._lanes
        return self._lanes

    @property
    def age_s(self) -> float:
        """Since the newest tick came, or since the feed began."""
        return time.monotonic() - self._heard_s

    def update(self, wait_s: float) -> bool:
        """Take in the newest tick; waits up to `wait_s` for one. True if there was one."""
        news = self._subscriber.newest(wait_s)
        if news is None:
            return False
        before, self.frame, self._heard_s = self.bundle, news, time.monotonic()
        bundle = news.bundle
        if before is not None and before.server != bundle.server:
            self.moved_from, self.moved_s = before.server, self._heard_s
        self.latency_s = max(0.0, (time.time_ns() - bundle.sent_ns) / 1e9) if bundle.sent_ns else None
        self.history.note(bundle, self.latency_s)
        return True

    def show(self, channels: Iterable[str]) -> None:
        """Get these channels from now on."""
        if self._channels != (asked := frozenset(channels)):
            lanes, pausing = self.lanes, self.is_pausing
            self._subscriber.close()
            self._channels = asked
            self._subscriber = Subscriber(self.session.telemetry, asked, self._rate_hz)
            self._lanes = lanes
            if pausing:
                self._subscriber.pause()

    def pause(self, still: bool) -> None:
        """Have the session stand still, or let it go on."""
        self.is_pausing = still
        if still:
            self._subscriber.pause()
        else:
            self._subscriber.resume()

    def step(self) -> None:
        """Have the session, which stands still, take one step."""
        self.is_pausing = True
        self._subscriber.step()

    def close(self) -> None:
        """Leave."""
        self._subscriber.close()


class Source:
    """The sessions that there are, and the feed of the one that is watched.

    While nothing comes the list is read again, so that a session is followed to another endpoint. The caller
    closes it.
    """

    timeline = None  # live: there is no other time

    def __init__(self, listing: Listing, chosen: str | None = None, rate_hz: int = _RATE_HZ) -> None:
        self.sessions = listing()
        self._listing, self._rate_hz = listing, rate_hz
        self._said: tuple[str, float] | None = None
        self._frozen: Scene | None = None
        self._recorder: Recorder | None = None
        self._recorded_lanes: Lanes | None = None
        self._recording_since_s = 0.0
        self._views = False
        self._looked_s = time.monotonic()
        first = next((s for s in self.sessions if s.session == chosen), self.sessions[0])
        self._feed = Feed(first, rate_hz=rate_hz)

    def update(self, wait_s: float) -> bool:
        """Take in the newest tick; waits up to `wait_s` for one. True if there was one."""
        if self._feed.update(wait_s):
            self._take_in()
            return True
        now_s = time.monotonic()
        if min(self._feed.age_s, now_s - self._looked_s) > _LOOK_AGAIN_S:
            self._looked_s = now_s
            self._follow()
        return False

    def scene(self) -> Scene:
        """What there is to draw."""
        if self._frozen is not None:
            return self._frozen
        feed = self._feed
        lost = Signal.LOST if feed.age_s > STALE_AFTER_S and not _is_paused(feed.bundle) else Signal.LIVE
        return Scene(
            session=feed.session,
            signal=Signal.WAITING if feed.frame is None else lost,
            age_s=feed.age_s,
            bundle=feed.bundle,
            arrays=feed.frame.arrays if feed.frame is not None else {},
            lanes=feed.lanes,
            history=feed.history,
            latency_s=feed.latency_s,
            said=self._words(),
            recorded_s=time.monotonic() - self._recording_since_s if self._recorder is not None else None,
        )

    def next_session(self) -> None:
        """Watch the next session, the first one after the last."""
        names = [session.session for session in self.sessions]
        at = names.index(self._feed.session.session) if self._feed.session.session in names else -1
        self.watch(self.sessions[(at + 1) % len(names)])

    def watch(self, session: Session) -> None:
        """Watch this session from now on."""
        self.stop_recording()
        self._feed.close()
        self._frozen = None
        self._feed = Feed(session, self._channels(None), self._rate_hz)

    def freeze(self) -> None:
        """Keep the picture as it is, or go on with the newest; the training does not notice."""
        self._frozen = None if self._frozen is not None else _frozen(self.scene())

    def toggle_views(self) -> None:
        """Ask for the cameras that the session may carry for viewers, or for them no longer."""
        self._views = not self._views
        there = _views(self._feed.bundle)
        if self._views and not there:
            self.say("this session carries no cameras for viewers: its configuration does not allow any")
        self._feed.show(self._channels(self._feed.bundle))

    def toggle_pause(self) -> None:
        """Have the session stand still, or go on, if it allows that."""
        if self._may_pause():
            self._feed.pause(not self._feed.is_pausing)

    def step(self) -> None:
        """Have the session take one step and stand still."""
        if self._may_pause():
            self._feed.step()

    def toggle_recording(self, folder: Path) -> None:
        """Record what comes from now on into a new file of `folder`, or end that."""
        if self._recorder is not None:
            self.stop_recording()
        else:
            name = re.sub(r"[^\w.-]+", "-", self._name()).strip("-")
            self.record(folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.mcap")

    def record(self, path: Path) -> None:
        """Record what comes from now on. A file that cannot be written is said in the picture."""
        try:
            self._recorder = Recorder(path, {"session": self._name()})
        except RecordingError as error:
            self.say(str(error))
            return
        self._recorded_lanes, self._recording_since_s = None, time.monotonic()

    def stop_recording(self) -> None:
        """Complete the file."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            try:
                recorder.close()
                self.say(f"recorded {recorder.path}")
            except RecordingError as error:
                self.say(str(error))

    def say(self, text: str) -> None:
        """Write it across the picture for a while."""
        self._said = text, time.monotonic()

    def close(self) -> None:
        """Leave."""
        self.stop_recording()
        self._feed.close()

    def _take_in(self) -> None:
        feed = self._feed
        if self._views and _views(feed.bundle):
            feed.show(self._channels(feed.bundle))
        if self._recorder is None or feed.frame is None:
            return
        try:
            if feed.lanes is not None and feed.lanes is not self._recorded_lanes:
                self._recorder.lanes(feed.lanes)
                self._recorded_lanes = feed.lanes
            self._recorder.frame(feed.frame)
        except RecordingError as error:
            self._recorder = None
            self.say(str(error))

    def _name(self) -> str:
        return session_name(self._feed.session, self._feed.bundle)

    def _channels(self, bundle: Bundle | None) -> tuple[str, ...]:
        return (*CHANNELS, *_views(bundle)) if self._views else CHANNELS

    def _may_pause(self) -> bool:
        bundle = self._feed.bundle
        allowed = bundle is not None and PAUSE in bundle.viewers_may
        if not allowed:
            self.say("this session may not be paused by viewers: its configuration does not allow it")
        return allowed

    def _words(self) -> str | None:
        now_s, feed = time.monotonic(), self._feed
        if self._said is not None and now_s - self._said[1] < _SAID_S:
            return self._said[0]
        if feed.moved_from is not None and now_s - feed.moved_s < _SAID_S and feed.bundle is not None:
            return f"the session moved from {feed.moved_from} to {feed.bundle.server}"
        return None

    def _follow(self) -> None:
        """Read the list again; attach anew if the watched session has moved or is gone."""
        try:
            self.sessions = self._listing()
        except ViewerError:
            return  # gone with its run: what is on the screen stays
        watched = self._feed.session
        there = next((s for s in self.sessions if s.session == watched.session), self.sessions[0])
        if there != watched:
            self.watch(there)
            self.say(f"{watched.session} is elsewhere now: watching {there.session} at {there.telemetry}")


def _views(bundle: Bundle | None) -> list[str]:
    return [name for name in bundle.viewers_may if name.startswith(VIEW_PREFIX)] if bundle is not None else []


def _is_paused(bundle: Bundle | None) -> bool:
    return bundle is not None and bundle.paused


def _frozen(scene: Scene) -> Scene:
    from copy import deepcopy
    from dataclasses import replace

    return replace(scene, signal=Signal.FROZEN, history=deepcopy(scene.history), said=None)
