"""What holders do with a server, as far as the watch over it sees: so a lost one can be replaced by its like,
and one that nobody uses is noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet.reach import Reach
from carlad.wire.errors import CallError
from carlad.wire.types import EpisodeSettings

_REMEMBERED = 8  # a replacement comes before all who wait: it seldom outlasts one other lease of its slot


class Tenancy(msgspec.Struct):
    """`settings` None: not seen yet. `used_at_s`: when somebody was connected last, or when it began;
    `looked_at_s`: when that was looked at last, which a server that is silent does not come to."""

    lease_id: str
    used_at_s: float
    looked_at_s: float
    settings: EpisodeSettings | None = None

    @property
    def idle_s(self) -> float:
        return self.looked_at_s - self.used_at_s


class Seen(msgspec.Struct, frozen=True):
    """For the journal: what the server of a lease was last seen to be set to."""

    lease_id: str
    settings: EpisodeSettings


class Tenancies:
    """Of one slot; the newest are remembered."""

    def __init__(self, seen: Iterable[Seen] = ()) -> None:
        """`seen`: by an earlier daemon."""
        self._kept: deque[Tenancy] = deque(maxlen=_REMEMBERED)
        for one in seen:
            self.see(one.lease_id, one.settings, is_used=True)

    def seen(self) -> tuple[Seen, ...]:
        return tuple(Seen(one.lease_id, one.settings) for one in self._kept if one.settings is not None)

    def of(self, lease_id: str) -> Tenancy | None:
        return next((tenancy for tenancy in self._kept if tenancy.lease_id == lease_id), None)

    def see(self, lease_id: str, settings: EpisodeSettings | None, *, is_used: bool) -> bool:
        """How the server that this lease holds was found. Whether its settings are others than before."""
        now_s, tenancy = trio.current_time(), self.of(lease_id)
        if tenancy is None:
            tenancy = Tenancy(lease_id, now_s, now_s)
            self._kept.append(tenancy)
        is_new = settings not in (None, tenancy.settings)
        tenancy.settings = settings or tenancy.settings
        tenancy.looked_at_s = now_s
        if is_used:
            tenancy.used_at_s = now_s
        return is_new


async def furnish(reach: Reach, settings: EpisodeSettings) -> None:
    """Settings like those of the server that was lost; a server that does not take them is as good as any."""
    with suppress(ServerError, CallError):
        async with reach.rpc() as rpc:
            await rpc.call("set_episode_settings", settings)
