"""A server that nobody holds need not draw.

Idle it takes 99 % of a graphics card, and 20 % in no_rendering_mode (carla-simulator/carla issue 5749).
"""

from __future__ import annotations

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet.reach import Reach
from carlad.wire.errors import CallError
from carlad.wire.types import EpisodeSettings

_WAKE_MAX_S = 5.0  # a grant waits for it


class Parking:
    """Of one incarnation. `park` and `wake` may be called from different tasks."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._moving = trio.Lock()
        self._awake: EpisodeSettings | None = None  # as they are when it is not parked

    @property
    def is_parked(self) -> bool:
        return self._awake is not None

    async def park(self, settings: EpisodeSettings) -> None:
        """`settings` are put back by `wake`. What draws nothing anyway is left alone. Raises ServerError."""
        if settings.no_rendering_mode:
            return
        async with self._moving:
            self._awake = (
                settings  # before it is sent: whoever is cancelled here does not know whether it was
            )
            await self._set(msgspec.structs.replace(settings, no_rendering_mode=True))

    async def wake(self) -> None:
        """Returns when it draws; at once where it is not parked. Raises ServerError."""
        async with self._moving:
            if self._awake is not None:
                await self._set(self._awake)
                self._awake = None

    async def _set(self, settings: EpisodeSettings) -> None:
        try:
            with trio.fail_after(_WAKE_MAX_S):
                async with self._reach.rpc() as rpc:
                    await rpc.call("set_episode_settings", settings)
        except (CallError, trio.TooSlowError) as error:
            raise ServerError(f"cannot be parked or woken: {error or 'no answer'}") from error
