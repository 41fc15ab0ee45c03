"""What the broker reads from the journal when it begins."""

from __future__ import annotations

import msgspec

from carlad.broker.book import KIND
from carlad.broker.lease import Record
from carlad.journal import Change, Delete, Journal, JournalError, Put
from carlad.log import get_logger

log = get_logger(__name__)

_BOOT = "boot"


class Boot(msgspec.Struct, frozen=True):
    """The boot that the journal's leases are of."""

    boot_id: str


class Restored(msgspec.Struct, frozen=True):
    """`token`: the highest that was ever tried. `records` by lease."""

    token: int
    records: tuple[Record, ...]


def restore(journal: Journal, boot_id: str) -> Restored:
    """Blocking. No lease outlives the boot that it was granted in, as no server does.

    Where leases cannot be read there are none: what holders of earlier ones have is ended. Raises
    JournalError where the journal cannot be written.
    """
    try:
        boot = journal.read(_BOOT, Boot).get(_BOOT)
        if boot is not None and boot.boot_id == boot_id:
            return Restored(journal.token(), tuple(journal.read(KIND, Record).values()))
    except JournalError as error:
        log.error("leases.unreadable", reason=error)  # noqa: TRY400 a traceback would help nobody
    forgotten: list[Change] = [Delete(KIND, lease_id) for lease_id in journal.keys(KIND)]
    journal.write([*forgotten, Put(_BOOT, _BOOT, Boot(boot_id))])
    return Restored(journal.token(), ())
