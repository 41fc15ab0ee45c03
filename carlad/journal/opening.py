"""A journal that is lost or damaged is followed by a new one: what it knew of servers can be ended, and so it
need not keep the daemon from starting. Only tokens must not begin again."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

from carlad.errors import ConfigError
from carlad.journal.journal import DamagedError, Journal
from carlad.journal.wal import is_damaged

_HEADER_BYTES = 100


def open_journal(path: Path, *, was_used: bool) -> tuple[Journal, str | None]:
    """The journal, and why it is a new one although there was an older one (`was_used`).

    A damaged file is kept under another name. Tokens then go on from the clock: nobody grants a thousand
    leases a second, so that is higher than any that was given out. Raises ConfigError.
    """
    lost = _absence(path) if was_used else None
    try:
        _check(path)
        journal = Journal(path)
    except DamagedError as error:
        lost = f"{error}; it is kept as {_put_aside(path)}"
        journal = Journal(path)
    if lost is not None:
        journal.write(token=int(time.time() * 1000))
    return journal, lost


def _absence(path: Path) -> str | None:
    """SQLite takes an empty file for a database that begins."""
    if not path.exists():
        return "there is none where one was"
    return "it is empty" if path.stat().st_size == 0 else None


def _check(path: Path) -> None:
    """Raises DamagedError where SQLite would take an older state for the newest, or find out much later."""
    wal = path.with_name(path.name + "-wal")
    try:
        is_cut = path.exists() and path.stat().st_size % _page_bytes(path) != 0
        damaged = is_damaged(wal)
    except OSError as error:
        raise ConfigError(f"cannot read the journal {path}: {error}") from error
    if is_cut:
        raise DamagedError(f"cannot use the journal {path}: it is cut off in the middle of a page")
    if damaged:
        raise DamagedError(f"cannot use the journal {path}: what was written last, {wal.name}, is damaged")


def _page_bytes(path: Path) -> int:
    """As sqlite.org/fileformat2.html has it in section 1.3; 1 where there is no header."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    said = int.from_bytes(header[16:18], "big")
    return 1 if len(header) < _HEADER_BYTES or said & (said - 1) else {0: 1, 1: 65536}.get(said, said)


def _put_aside(path: Path) -> Path:
    aside = next(name for name in map(path.with_suffix, _suffixes()) if not name.exists())
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    return aside


def _suffixes() -> map[str]:
    return map(".damaged{}".format, count(1))
