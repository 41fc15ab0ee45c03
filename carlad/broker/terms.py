"""Under which terms servers are leased: the operator's, for everybody."""

from __future__ import annotations

import msgspec


class Quota(msgspec.Struct, frozen=True):
    """How many servers a user may have at once; None: as many as there are. `users`: who may otherwise."""

    leases_max: int | None = None
    users: dict[str, int] = {}

    def of(self, user: str) -> int | None:
        return self.users.get(user, self.leases_max)


class Terms(msgspec.Struct, frozen=True):
    """`spares`: so many free servers are kept for those who lose theirs.

    `lease_max_s`: the end of a lease however often it is renewed; `idle_max_s`: its end where nobody is
    connected to its server; None: no limit. `head_start_s`: what one step of priority is worth in waiting.
    """

    ttl_s: float
    ttl_max_s: float
    spares: int = 0
    lease_max_s: float | None = None
    idle_max_s: float | None = None
    head_start_s: float = 60.0
    quota: Quota = Quota()
