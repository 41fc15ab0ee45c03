"""The fleet's records in the journal."""

from __future__ import annotations

import hashlib

import msgspec

from carlad.config import Config, FleetSection
from carlad.fleet.baseline import Baseline
from carlad.fleet.lifecycle import State
from carlad.fleet.ports import Ports
from carlad.fleet.standing import Wish
from carlad.fleet.tenancy import Seen
from carlad.fleet.wear import Past
from carlad.journal import Put
from carlad.messages import SlotStatus

SLOT = "slot"
RING = "ports"
_UNUSED = (State.STARTING, State.READY)
_USED = (State.LEASED, State.SCRUBBING)


class SlotRecord(msgspec.Struct, frozen=True):
    """`status` as it was; `ports` are kept between two incarnations, and `made_from` tells whether the
    server is still what the configuration wants."""

    status: SlotStatus
    ports: Ports | None = None
    baseline: Baseline | None = None
    maps: frozenset[str] = frozenset()
    wish: Wish = Wish.UP
    why: str = ""
    made_from: str = ""
    past: Past = Past()
    seen: tuple[Seen, ...] = ()

    @property
    def may_run(self) -> bool:
        """Whether its server can be taken back: one that was being ended cannot, nor one that would have to
        be scrubbed without its baseline."""
        state = State(self.status.state)
        return state in _UNUSED or (state in _USED and self.baseline is not None)

    @property
    def folder(self) -> str:
        return run_name(self.status.slot, self.status.incarnation)


class Ring(msgspec.Struct, frozen=True):
    """The block of ports that was given out last: the search for the next one goes on behind it."""

    rpc_port: int


def ring(rpc_port: int) -> Put:
    return Put(RING, "last", Ring(rpc_port))


def run_name(slot: int, incarnation: int) -> str:
    """Of an incarnation's folder."""
    return f"{slot}-{incarnation}"


def incarnation_of(run_name: str, slot: int) -> int:
    """0 where it is another slot's, or no run's."""
    number, _, incarnation = run_name.partition("-")
    return int(incarnation) if number == str(slot) and incarnation.isdecimal() else 0


def map_of(fleet: FleetSection, slot: int) -> str:
    """With which its servers begin; empty: the one that a server starts with."""
    return fleet.maps[slot % len(fleet.maps)] if fleet.maps else fleet.map


def made_from(config: Config, slot: int) -> str:
    """Of everything in a configuration that a running server of this slot is made from."""
    fleet = msgspec.structs.replace(
        config.fleet,
        size=0,
        spares=0,
        park_after_s=0.0,
        maps=(),
        map=map_of(config.fleet, slot),
        servers=config.fleet.servers[slot : slot + 1],
    )
    parts = (fleet, config.docker, config.gpu, config.resources, config.logs)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
