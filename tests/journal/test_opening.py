"""A journal that is gone or makes no sense is followed by a new one, whose tokens are higher."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from carlad.errors import ConfigError
from carlad.journal import Journal, Put, open_journal


class Thing(msgspec.Struct):
    text: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_the_first_one_begins_at_zero(path: Path) -> None:
    journal, lost = open_journal(path, was_used=False)
    with closing(journal):
        assert (journal.token(), lost) == (0, None)


def test_a_whole_one_goes_on(path: Path) -> None:
    with closing(Journal(path)) as journal:
        journal.write(token=7)
    journal, lost = open_journal(path, was_used=True)
    with closing(journal):
        assert (journal.token(), lost) == (7, None)


def test_one_that_is_gone_is_noticed_and_its_tokens_are_not_given_out_again(path: Path) -> None:
    journal, lost = open_journal(path, was_used=True)
    with closing(journal):
        assert lost == "there is none where one was"
        first = journal.token()
        assert abs(first / 1000 - time.time()) < 60
        for token in range(first + 1, first + 4):
            journal.write(token=token)
    path.unlink()
    time.sleep(0.01)
    journal, _lost = open_journal(path, was_used=True)
    with closing(journal):
        assert journal.token() > first + 3


def test_the_tokens_of_one_that_was_emptied_are_not_given_out_again(path: Path) -> None:
    """Found by the simulation's seed 1444."""
    with closing(Journal(path)) as journal:
        journal.write(token=7)
    path.write_bytes(b"")
    journal, lost = open_journal(path, was_used=True)
    with closing(journal):
        assert lost == "it is empty"
        assert journal.token() > 7


def test_a_folder_in_its_place_is_said(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match=r"cannot read the journal .*Is a directory"):
        open_journal(path, was_used=True)


def test_one_that_is_cut_off_anywhere_is_found_out_at_once(path: Path) -> None:
    """Found by the simulation on another SQLite, which passed some cuts and failed over them later."""
    with closing(Journal(path)) as journal:
        journal.write([Put("lease", str(number), Thing(text="x" * 300)) for number in range(40)], token=7)
    content = path.read_bytes()
    for cut in range(0, len(content), 509):
        path.write_bytes(content[:cut])
        journal, lost = open_journal(path, was_used=True)
        with closing(journal):
            assert lost is not None
            assert journal.token() > 7
            assert journal.keys("lease") == ()


@pytest.mark.parametrize("damage", [b"", b"garbage " * 2000])
def test_a_damaged_one_is_kept_under_another_name(path: Path, damage: bytes) -> None:
    for number in (1, 2):
        with closing(Journal(path)) as journal:
            journal.write(token=7)
        content = path.read_bytes()
        path.write_bytes(damage or content[:100] + b"\xff" * 3000 + content[3100:])
        damaged = path.read_bytes()
        journal, lost = open_journal(path, was_used=True)
        with closing(journal):
            assert lost is not None
            assert lost.endswith(f"journal.damaged{number}")
            assert journal.token() > 1_000_000_000_000
        assert path.with_suffix(f".damaged{number}").read_bytes() == damaged


def test_another_programs_database_is_left_where_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")
        connection.commit()
    with pytest.raises(ConfigError, match="another program's"):
        open_journal(path, was_used=True)
    assert path.exists()
