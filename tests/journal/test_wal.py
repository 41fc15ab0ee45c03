"""A write-ahead log that was damaged is noticed, one whose end was torn off is not taken for that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from carlad.journal import Journal, open_journal
from carlad.journal.wal import is_damaged

COMMITS = 12


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A journal as a daemon leaves it that was killed: with a log of `COMMITS` tokens. Its log's path."""
    there, copied = tmp_path / "there", tmp_path / "copied"
    there.mkdir()
    journal = Journal(there / "journal.sqlite")
    for token in range(1, COMMITS + 1):
        journal.write(token=token)
    shutil.copytree(there, copied)
    journal.close()
    return copied / "journal.sqlite-wal"


def opened_token(wal: Path) -> tuple[int, str | None]:
    journal, lost = open_journal(wal.with_name("journal.sqlite"), was_used=True)
    try:
        return journal.token(), lost
    finally:
        journal.close()


def test_a_log_that_was_left_is_sound(left: Path) -> None:
    assert not is_damaged(left)
    assert opened_token(left) == (COMMITS, None)


def test_damage_at_any_place_but_the_last_frame_is_noticed(left: Path) -> None:
    content = left.read_bytes()
    last = len(content) - 24 - 4096
    for at in range(0, last, 97):
        left.write_bytes(
            content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 50]) + content[at + 50 :]
        )
        assert is_damaged(left), at


def test_tokens_go_on_from_the_clock_after_damage(left: Path) -> None:
    content = bytearray(left.read_bytes())
    content[5000:5100] = bytes(range(100))
    left.write_bytes(content)
    token, lost = opened_token(left)
    assert token > 1_000_000_000_000
    assert lost is not None
    assert "what was written last, journal.sqlite-wal, is damaged" in lost


@pytest.mark.parametrize("kept", [0, 10, 32, 5000])
def test_a_log_that_was_torn_off_is_no_damage(left: Path, kept: int) -> None:
    left.write_bytes(left.read_bytes()[:kept])
    assert not is_damaged(left)


def test_frames_of_an_older_generation_are_no_damage(tmp_path: Path) -> None:
    """After a checkpoint the log is written from its beginning again, over what is there."""
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    for token in range(1, 700):
        journal.write(token=token)
    assert not is_damaged(path.with_name("journal.sqlite-wal"))
    journal.close()


def test_a_kill_between_a_frames_header_and_its_page_is_no_damage(left: Path) -> None:
    """Over frames of an older generation nothing is missing at the end: there is an old page behind the new
    header."""
    content = left.read_bytes()
    size = 24 + 4096
    torn = content[-size : -size + 24] + content[32 + 24 : 32 + size]  # the first's page
    older = bytes([*torn[:8], *(byte ^ 0xFF for byte in torn[8:16]), *torn[16:]])
    assert torn != content[-size:]
    left.write_bytes(content[:-size] + torn + older)
    assert not is_damaged(left)
    assert opened_token(left) == (COMMITS - 1, None)
