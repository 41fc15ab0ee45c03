"""What happens in a simulated hour: drawn from a seed before, so that it can be repeated and cut."""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

HOUR_S = 3600.0
SLOTS = 3
_RUSH_S = 300.0
UIDS = (64001, 64002, 64003)  # of users without a name


class Traits(msgspec.Struct, frozen=True):
    """What a machine and its configuration are like. `starts_s`: the least and the most that a server takes
    to start; `answers_s`: a call to be answered; `loads_s`: a map to load; `commands_s`: between two commands
    of a client."""

    probe_s: float
    starts_s: tuple[float, float]
    answers_s: float
    loads_s: float
    commands_s: float
    spares: int
    quota: int
    head_start_s: float
    idle_max_s: float


def traits(seed: int) -> Traits:
    """Of that hour."""
    chance = Random(f"traits of {seed}")
    return Traits(
        probe_s=chance.choice((30.0, 60.0, 120.0, 120.0)),
        starts_s=chance.choice(((0.01, 0.1), (0.1, 0.5), (0.5, 2.0))),
        answers_s=chance.choice((0.0, 0.002)),
        loads_s=chance.choice((0.02, 0.2, 3.0)),
        commands_s=chance.choice((10.0, 30.0, 60.0)),
        spares=chance.choice((0, 0, 0, 1)),
        quota=chance.choice((0, 0, 1, 2)),
        head_start_s=chance.choice((0.0, 20.0, 60.0)),
        idle_max_s=chance.choice((0.0, 0.0, 0.0, 90.0)),
    )


class Happening(msgspec.Struct, frozen=True, tag=True):
    at_s: float


class Client(Happening, frozen=True):
    """Wants a server, and uses it for `hold_s`.

    `leaves`: "release"; "linger": releases, but stays connected and sends on for `beyond_s`; "vanish":
    neither releases nor renews, and sends on for so long; "die": is not there any more, and where `is_known`
    its process was the holder.
    """

    number: int
    uid: int
    map: str | None
    ttl_s: float
    wait_s: float
    priority: int
    replace: bool
    hold_s: float
    leaves: Literal["release", "linger", "vanish", "die"]
    beyond_s: float
    is_known: bool = False


class SessionClient(Happening, frozen=True):
    """Opens an env session and steps it for `hold_s`. `leaves`: "vanish": it does nothing any more; "die":
    its process ends. `is_known`: its process is the holder. `is_bad`: its environment cannot be made."""

    number: int
    uid: int
    map: str | None
    ttl_s: float
    wait_s: float
    hold_s: float
    leaves: Literal["close", "vanish", "die"]
    is_known: bool
    is_bad: bool = False


class ServerFault(Happening, frozen=True):
    """`loop`: it hangs and computes. `slow`: its answers take a second for `for_s`."""

    slot: int
    kind: Literal["crash", "hang", "loop", "slow"]
    for_s: float = 10.0


class HostFault(Happening, frozen=True):
    """Of whichever env host is the `number`th then."""

    number: int
    kind: Literal["crash", "hang"]


class Watcher(Happening, frozen=True):
    """Follows the notices for `for_s`."""

    for_s: float


class ConfigReload(Happening, frozen=True):
    """The file says other things now; an operator has it read."""

    probe_s: float
    quota: int
    spares: int


class BrokenStarts(Happening, frozen=True):
    """For so long every server ends while it starts."""

    for_s: float


class DaemonKill(Happening, frozen=True):
    """`writes`: at that write from now on, `before` or after it; 0: at once. `down_s`: until the next."""

    writes: int
    before: bool
    down_s: float


class OrderlyRestart(Happening, frozen=True):
    down_s: float


class FullDisk(Happening, frozen=True):
    for_s: float


class DamagedJournal(Happening, frozen=True):
    """The daemon is killed and its journal cut behind `keep` of 1,000 parts of its length."""

    keep: int


class PowerCut(Happening, frozen=True):
    """Nothing of the machine goes on, and it boots again after `down_s`. What the journal wrote since its
    last flush is torn behind `keep` of 1,000 parts of it."""

    keep: int
    down_s: float


class Scale(Happening, frozen=True):
    """An operator wants so many slots, and `for_s` later as many as before."""

    size: int
    for_s: float


class BadPost(Happening, frozen=True):
    """For so long messages are lost and come twice or late."""

    for_s: float


class Suspend(Happening, frozen=True):
    """The machine sleeps: the leases' clock goes on, timers and servers stand still."""

    for_s: float


class Stranger(Happening, frozen=True):
    """Connects to a slot's server without a lease, and meddles with it."""

    slot: int
    stays_s: float


class Squatter(Happening, frozen=True):
    """Takes a port of the fleet's range."""

    block: int
    for_s: float


class Operator(Happening, frozen=True):
    slot: int
    does: Literal["drain", "undrain", "restart", "quarantine"]


Any = (
    Client
    | SessionClient
    | HostFault
    | Watcher
    | ConfigReload
    | ServerFault
    | BrokenStarts
    | DaemonKill
    | OrderlyRestart
    | FullDisk
    | DamagedJournal
    | PowerCut
    | Scale
    | BadPost
    | Suspend
    | Stranger
    | Squatter
    | Operator
)


def draw(seed: int) -> tuple[Any, ...]:
    """An hour's happenings, in the order of their times."""
    chance = Random(seed)
    rush_s = chance.uniform(0.0, 0.8 * HOUR_S)  # when many come at once
    happenings: list[Any] = [_client(chance, number, rush_s) for number in range(chance.randint(8, 22))]
    happenings += [_session_client(chance, number) for number in range(chance.randint(1, 5))]
    for kind, most in _OFTEN.items():
        happenings += [kind(chance) for _ in range(chance.randint(0, most))]
    return tuple(sorted(happenings, key=lambda one: one.at_s))


def _client(chance: Random, number: int, rush_s: float) -> Client:
    hold_s = chance.choice((0.0, 2.0, 20.0, 120.0, 400.0))
    ttl_s = chance.choice((5.0, 30.0, 60.0) if hold_s < 120.0 else (30.0, 60.0))
    return Client(
        at_s=chance.choice((chance.uniform(0.0, 0.9 * HOUR_S), rush_s + chance.uniform(0.0, _RUSH_S))),
        number=number,
        uid=chance.choice(UIDS),
        map=chance.choice((None, None, "Town01", "Town02", "Town99" if chance.random() < 0.1 else None)),
        ttl_s=ttl_s,
        wait_s=chance.choice((0.0, 20.0, 120.0, 600.0)),
        priority=chance.choice((0, 0, 0, 1, 5)),
        replace=chance.random() < 0.5,
        hold_s=hold_s,
        leaves=chance.choice(("release", "release", "release", "linger", "vanish", "die")),
        beyond_s=chance.choice((0.5, 3.0, 4 * ttl_s)),
        is_known=chance.random() < 0.5,
    )


def _session_client(chance: Random, number: int) -> SessionClient:
    return SessionClient(
        at_s=chance.uniform(0.0, 0.9 * HOUR_S),
        number=number,
        uid=chance.choice(UIDS),
        map=chance.choice((None, None, "Town01", "Town02")),
        ttl_s=chance.choice((20.0, 60.0)),
        wait_s=chance.choice((0.0, 60.0, 600.0)),
        hold_s=chance.choice((5.0, 60.0, 400.0, 800.0)),
        leaves=chance.choice(("close", "close", "vanish", "die")),
        is_known=chance.random() < 0.5,
        is_bad=chance.random() < 0.05,
    )


def _at(chance: Random) -> float:
    return chance.uniform(0.0, 0.95 * HOUR_S)


_OFTEN = {
    lambda chance: ServerFault(
        _at(chance),
        chance.randrange(SLOTS),
        chance.choice(("crash", "crash", "hang", "loop", "slow")),
        chance.choice((3.0, 30.0)),
    ): 14,
    lambda chance: HostFault(_at(chance), chance.randrange(8), chance.choice(("crash", "crash", "hang"))): 8,
    lambda chance: Watcher(_at(chance), chance.choice((60.0, 900.0, HOUR_S))): 2,
    lambda chance: ConfigReload(
        _at(chance), chance.choice((30.0, 120.0)), chance.choice((0, 1, 2)), chance.choice((0, 1))
    ): 2,
    lambda chance: BrokenStarts(_at(chance), chance.choice((2.0, 30.0, 300.0))): 1,
    lambda chance: DaemonKill(
        _at(chance), chance.choice((0, 1, 2, 3, 5, 8)), chance.random() < 0.5, chance.choice((0.1, 1.0, 8.0))
    ): 8,
    lambda chance: OrderlyRestart(_at(chance), chance.choice((0.5, 5.0))): 1,
    lambda chance: FullDisk(_at(chance), chance.choice((0.5, 5.0, 60.0))): 3,
    lambda chance: DamagedJournal(_at(chance), chance.randrange(1001)): 1,
    lambda chance: BadPost(_at(chance), chance.choice((10.0, 120.0))): 4,
    lambda chance: Suspend(_at(chance), chance.choice((1.0, 20.0, 600.0))): 1,
    lambda chance: Stranger(_at(chance), chance.randrange(SLOTS), chance.choice((0.0, 0.5, 30.0))): 4,
    lambda chance: Squatter(_at(chance), chance.randrange(SLOTS + 3), chance.choice((5.0, 200.0))): 2,
    lambda chance: Operator(
        _at(chance), chance.randrange(SLOTS), chance.choice(("drain", "undrain", "restart", "quarantine"))
    ): 4,
    lambda chance: PowerCut(
        _at(chance),
        chance.choice((0, chance.randrange(100), chance.randrange(1001))),
        chance.choice((1.0, 30.0)),
    ): 1,
    lambda chance: Scale(
        _at(chance), chance.choice((0, 1, 2, SLOTS + 2)), chance.choice((1.0, 60.0, 600.0))
    ): 1,
}
