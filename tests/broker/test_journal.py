"""The journal: a token is on disk before it is used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from carlad.broker.journal import Journal, JournalError
from carlad.errors import ConfigError


def test_a_new_journal_begins_at_zero_and_keeps_what_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    assert journal.token() == 0
    journal.raise_token(17)
    journal.close()
    journal = Journal(path)
    assert journal.token() == 17
    journal.close()


def test_a_token_is_on_disk_when_raise_returns_also_without_close(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.raise_token(5)
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    assert other.execute("SELECT token FROM high_water").fetchone() == (5,)
    other.close()
    journal.close()


def test_a_token_never_goes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.raise_token(5)
    journal.raise_token(3)
    assert journal.token() == 5
    journal.close()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"garbage " * 1000)
    with pytest.raises(ConfigError, match=r"journal\.sqlite.*not a database"):
        Journal(path)
    assert path.read_bytes().startswith(b"garbage")


def test_a_truncated_journal_is_refused_or_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.raise_token(9)
    journal.close()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ConfigError, match="cannot use the journal"):
        Journal(path)


def test_a_journal_of_a_newer_carlad_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="newer carlad"):
        Journal(path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the journal"):
        Journal(tmp_path / "nowhere" / "journal.sqlite")


def test_a_journal_that_another_process_locks_raises_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, busy_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match="locked"):
        journal.raise_token(1)
    other.close()
    journal.close()
