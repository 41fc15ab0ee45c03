"""An env host's telemetry: what the session adds to the environment's bundles, and when they are sent."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from carlad.session.environment import Showing, Watchable
from carlad.session.protocol import Stepped
from carlad.telemetry import Publisher
from carlad.telemetry.bundle import PAUSE, VIEW_PREFIX

_EPISODES_IN_RATE = 50  # the success rate that a viewer sees is over this many episodes
_RATE_PERIOD_S = 1.0


class Broadcast:
    """Counts what happens in the session, and publishes each step if someone is subscribed."""

    def __init__(self, publisher: Publisher, session: str) -> None:
        self._publisher = publisher
        self._session = session
        self._episode = -1
        self._return = 0.0
        self._successes: deque[bool] = deque(maxlen=_EPISODES_IN_RATE)
        self._steps = 0
        self._steps_per_s: float | None = None
        self._counted_from_s = time.monotonic()
        self._showing: Showing | None = None
        self._wanted: frozenset[str] = frozenset()  # as it was when the views were looked at
        self._views: frozenset[str] = frozenset()
        self._steps_granted = 0
        self._was_held = False

    def attached(self, env: object) -> None:
        """Offer the map of a newly connected environment."""
        if isinstance(env, Watchable):
            self._publisher.set_lanes(env.lanes())
        self._showing = env if isinstance(env, Showing) else None

    def reset(self, env: object) -> None:
        """Note that an episode began."""
        self._episode += 1
        self._return = 0.0
        self._publish(env)

    def stepped(self, env: object, step: Stepped) -> None:
        """Note a step; publishing it never blocks and costs about a microsecond when nobody watches."""
        self._return += step.reward
        if step.terminated or step.truncated:
            self._successes.append(bool(step.info.get("success", False)))
        self._measure_rate()
        self._show()
        self._publish(env)

    def is_held(self, env: object) -> bool:
        """Whether a viewer that may has the session stand still, one step that it asked for at a time."""
        if not self._publisher.is_paused() or PAUSE not in self._viewers_may():
            if self._was_held:
                self._was_held = False
                self._steps_granted = self._publisher.steps_asked
            return False
        if self._steps_granted < self._publisher.steps_asked:
            self._steps_granted += 1
            return False
        if not self._was_held or self._publisher.due():
            self._was_held = True
            self._publish(env, is_paused=True)
        return True

    def lost(self, env: object, reason: str) -> None:
        """Tell viewers why no more steps come."""
        self._publish(env, f"server lost: {reason}")

    def close(self) -> None:
        """Close the endpoint and remove its socket file."""
        self._publisher.close()

    def _measure_rate(self) -> None:
        self._steps += 1
        if (elapsed_s := time.monotonic() - self._counted_from_s) >= _RATE_PERIOD_S:
            self._steps_per_s = self._steps / elapsed_s
            self._steps = 0
            self._counted_from_s += elapsed_s

    def _show(self) -> None:
        """Have the environment carry the cameras that viewers want and may have."""
        if self._showing is None or (wanted := self._publisher.wanted()) is self._wanted:
            return
        self._wanted = wanted
        views = self._viewers_may().intersection(name for name in wanted if name.startswith(VIEW_PREFIX))
        if views != self._views:
            self._views = views
            self._showing.show(views)

    def _viewers_may(self) -> frozenset[str]:
        return self._showing.viewers_may if self._showing is not None else frozenset()

    def _publish(self, env: object, note: str | None = None, is_paused: bool = False) -> None:
        at_once = note is not None or is_paused  # must not be left out
        wanted = self._publisher.wanted() if at_once else self._publisher.due()
        if not wanted or not isinstance(env, Watchable):
            return
        bundle, arrays = env.frame_bundle(wanted)
        rate = sum(self._successes) / len(self._successes) if self._successes else None
        bundle = msgspec.structs.replace(
            bundle,
            session=self._session,
            episode=self._episode,
            episode_return=self._return,
            success_rate=rate,
            steps_per_s=self._steps_per_s,
            sent_ns=time.time_ns(),
            viewers_may=sorted(self._viewers_may()),
            paused=is_paused,
            note=note,
        )
        self._publisher.publish(bundle, arrays, to_all=at_once)
