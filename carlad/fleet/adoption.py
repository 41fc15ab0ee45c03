"""Which servers of an earlier daemon are taken back, and how those that are not have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet.backends.interface import Found
from carlad.fleet.ports import Ports
from carlad.fleet.records import SlotRecord, incarnation_of
from carlad.log import get_logger

log = get_logger(__name__)

Find = Callable[[Ports, Path], Awaitable[Found]]


class Lost(msgspec.Struct, frozen=True):
    """Its server was in a run and is not, or nobody can vouch for it."""

    why: str


async def take_back(records: Mapping[int, SlotRecord], runs: Path, find: Find) -> dict[int, Found | Lost]:
    """By slot; slots whose server was not in a run are not in it."""
    fates: dict[int, Found | Lost] = {}
    async with trio.open_nursery() as nursery:
        for number, record in records.items():
            if record.may_run and record.ports is not None:
                nursery.start_soon(_take_back, number, record, record.ports, runs, find, fates)
    return fates


async def _take_back(
    number: int, record: SlotRecord, ports: Ports, runs: Path, find: Find, fates: dict[int, Found | Lost]
) -> None:
    try:
        fates[number] = found = await find(ports, runs / record.folder)
    except ServerError as error:
        fates[number] = Lost(str(error))
    else:
        log.info("server.found", slot=number, pid=found.pid, lease_id=record.status.lease_id)


def last_incarnation(slot: int, record: SlotRecord | None, folders: list[str]) -> int:
    """The highest number that may be in use: a new journal does not know what the folders say."""
    known = 0 if record is None else record.status.incarnation
    return max([known, *(incarnation_of(folder, slot) for folder in folders)])
