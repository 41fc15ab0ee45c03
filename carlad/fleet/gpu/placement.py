"""Which card a server gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from carlad.errors import ServerError
from carlad.fleet.gpu.devices import MIB, Device, PciBus


class Seat(msgspec.Struct, frozen=True):
    """A server's place on a card. `need_bytes` is what it may take, whatever it takes yet."""

    pci: PciBus
    uuid: str
    need_bytes: int


class Occupant(msgspec.Struct, frozen=True):
    """Who has a seat: the processes of a server, none while it starts."""

    seat: Seat
    pids: frozenset[int]


def place(
    devices: Sequence[Device], wanted: Sequence[str], occupants: Iterable[Occupant], need_bytes: int
) -> Seat:
    """On the card with the most memory that is free and promised to nobody; of equal ones the first.

    `wanted` names the cards that may be used, by index, UUID or bus; empty: all. Raises ServerError where
    none has `need_bytes`: memory is never promised twice.
    """
    usable = [device for device in devices if not wanted or _is_wanted(device, wanted)]
    if not usable:
        raise ServerError(f"gpu.devices: none of {', '.join(wanted)} is on this machine")
    occupants = tuple(occupants)
    best = max(usable, key=lambda device: room(device, occupants))
    if room(best, occupants) < need_bytes:
        rooms = ", ".join(f"{device.index}: {room(device, occupants) // MIB} MiB" for device in usable)
        raise ServerError(
            f"no graphics card has gpu.memory_mib, {need_bytes // MIB} MiB, left for a server; left: {rooms}"
        )
    return Seat(best.pci, best.uuid, need_bytes)


def room(device: Device, occupants: Iterable[Occupant]) -> int:
    """Bytes that are free and that no occupant may still take."""
    promised = sum(
        max(0, occupant.seat.need_bytes - device.used_by(occupant.pids))
        for occupant in occupants
        if occupant.seat.pci == device.pci
    )
    return device.free_bytes - promised


def renders_on(devices: Iterable[Device], pids: frozenset[int], least_bytes: int) -> Device | None:
    """Where most of a server's memory is; None while it has less than `least_bytes` anywhere.

    CARLA has a few MB on the first card too, whichever it renders on (carla-simulator/carla issue 4698).
    """
    best = max(devices, key=lambda device: device.used_by(pids), default=None)
    return best if best is not None and best.used_by(pids) >= least_bytes else None


def left_by(devices: Iterable[Device], pids: frozenset[int]) -> str:
    """What cards still have of processes that have ended; empty: nothing."""
    left = [
        f"{used // MIB} MiB of process {pid} on the card at {device.pci}"
        for device in devices
        for pid, used in sorted(device.processes.items())
        if pid in pids
    ]
    return ", ".join(left)


def _is_wanted(device: Device, wanted: Sequence[str]) -> bool:
    return bool({str(device.index), device.uuid, str(device.pci)} & set(wanted))
