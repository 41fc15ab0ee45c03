"""Which blows come, when, how long and whom they hit: all of it follows from a seed. Pure."""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.system.participants import TTL_S

# How often each comes, in parts; the daemon is not to be down most of the time.
BLOWS = {
    "kill server": 10,
    "stop server": 8,
    "flood server": 3,
    "kill shim": 2,
    "kill holder": 8,
    "stop holder": 10,
    "kill host": 5,
    "stop host": 3,
    "kill stepper": 2,
    "kill viewer": 3,
    "stop viewer": 3,
    "squat": 4,
    "fill disk": 2,
    "stop daemon": 2,
    "kill daemon": 3,
    "upgrade daemon": 2,
    "reload daemon": 2,
    "corrupt journal": 1,
}
ONCE_AT_LEAST = tuple(BLOWS)  # in each run, however short
_LASTS_S = (0.3, 2.0, 2.0 * TTL_S)  # a moment, longer than probes wait, longer than leases last


class Blow(NamedTuple):
    """`lasts_s`: until what was done is undone again; `which`: of those who can be hit, modulo them."""

    at_s: float
    kind: str
    lasts_s: float
    which: int


def schedule(seed: int, seconds: float, every_s: float) -> list[Blow]:
    """Each kind at least once, then by chance, one every `every_s` on average."""
    chance = random.Random(seed)
    count = max(len(ONCE_AT_LEAST), int(seconds / every_s))
    kinds = [
        *ONCE_AT_LEAST,
        *chance.choices(list(BLOWS), list(BLOWS.values()), k=count - len(ONCE_AT_LEAST)),
    ]
    chance.shuffle(kinds)
    times = sorted(chance.uniform(0.0, seconds) for _ in kinds)
    return [
        Blow(at_s, kind, chance.choice(_LASTS_S), chance.randrange(1 << 16))
        for at_s, kind in zip(times, kinds, strict=True)
    ]
