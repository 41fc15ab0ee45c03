"""An env host's telemetry: what the session adds to the environment's bundles, and when they are sent."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from carlad.session.environment import Watchable
from carlad.session.protocol import Stepped
from carlad.telemetry import Publisher

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

    def attached(self, env: object) -> None:
        """Offer the map of a newly connected environment."""
        if isinstance(env, Watchable):
            self._publisher.set_lanes(env.lanes())

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
        self._publish(env)

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

    def _publish(self, env: object, note: str | None = None) -> None:
        wanted = self._publisher.wanted() if note else self._publisher.due()  # a note must not be left out
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
            note=note,
        )
        self._publisher.publish(bundle, arrays, to_all=note is not None)
