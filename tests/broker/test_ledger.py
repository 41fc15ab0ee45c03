"""What the broker finds in the journal, and what it makes of what it cannot read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from carlad.broker.book import KIND
from carlad.broker.lease import Ended, Lease, Record
from carlad.broker.ledger import restore
from carlad.journal import Journal, Put
from tests.broker.slots import acquire

LEASE = Lease(17, 0, "a request", acquire(replace=True), "Town01", 30.0, 1.0, 1.0, 31.0)


def test_what_was_written_is_found_in_the_same_boot_and_not_in_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    restore(journal, "a boot")
    records = [Record(LEASE), Record(msgspec.structs.replace(LEASE, token=18), Ended("it was released", "r"))]
    journal.write([Put(KIND, record.lease.lease_id, record) for record in records], token=18)
    assert restore(journal, "a boot").records == tuple(records)
    found = restore(journal, "the next")
    assert (found.token, found.records, journal.keys(KIND)) == (18, (), ())
    journal.close()


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"garbage", b"\x81\xa5lease\x07"])
def test_leases_that_cannot_be_read_are_none_and_the_token_stays(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    restore(journal, "a boot")
    journal.write([Put(KIND, LEASE.lease_id, Record(LEASE))], token=17)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE record SET value = ? WHERE kind = ?", (garbage, KIND))
    connection.close()
    found = restore(journal, "a boot")
    assert (found.token, found.records, journal.keys(KIND)) == (17, (), ())
    journal.close()
