"""What the lease table wants done. It decides, the broker performs.

Whatever the table has to be written down (`LeaseTable.unwritten`) is on disk before any effect is performed.
"""

from __future__ import annotations

import msgspec

from carlad.broker.lease import Lease
from carlad.messages import ReplyBody


class Effect(msgspec.Struct, frozen=True):
    """Base of all effects."""


class Answer(Effect, frozen=True):
    """Whoever sent that request is to get `body`."""

    request_id: str
    body: ReplyBody


class Claim(Effect, frozen=True):
    """Lease the slot, if it is as `expected`, incarnation and map; report to `LeaseTable.claimed` or
    `.not_claimed`. `furnished_as`: the lost lease whose server's settings this one is to have.
    """

    slot: int
    lease_id: str
    token: int
    expected: tuple[int, str | None]
    furnished_as: str | None = None


class Load(Effect, frozen=True):
    """Have the slot load a map; report to `LeaseTable.load_began`."""

    slot: int
    map: str


class Scrub(Effect, frozen=True):
    """Take the server back from a holder who gave it back: it is scrubbed, or ended where that fails."""

    slot: int
    lease_id: str
    reason: str


class End(Effect, frozen=True):
    """End the incarnation that this lease holds: the fence where the holder may not know of it."""

    slot: int
    lease_id: str
    reason: str


class Tell(Effect, frozen=True):
    """Publish a notice. `lease`: the one that lives from now on, if that is what is told."""

    event: str
    slot: int
    lease_id: str
    reason: str | None = None
    lease: Lease | None = None

    @property
    def is_end(self) -> bool:
        """Whether the lease is over."""
        return self.event in ("lease.lost", "lease.expired", "lease.released")
