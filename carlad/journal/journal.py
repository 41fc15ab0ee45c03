"""Records by kind and key, and the highest fencing token that was ever given out: SQLite, write-ahead.

A unit owns its kinds of records and reads them once, at its start. Values are msgspec structs in msgpack,
which keeps every float.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from carlad.errors import CarladError, ConfigError

R = TypeVar("R", bound=msgspec.Struct)

_APPLICATION_ID = 0x6361726C  # "carl": tells our files from other programs'
_SCHEMA_VERSION = 1
_CHECKPOINT_AFTER = 256  # commits, of a page or a few each; SQLite's own default is 1000 pages
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS high_water (token INTEGER NOT NULL) STRICT;
INSERT INTO high_water SELECT 0 WHERE NOT EXISTS (SELECT * FROM high_water);
CREATE TABLE IF NOT EXISTS record (
    kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
UPDATE high_water SET token = token;  -- finds out now whether it can be written
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""


class JournalError(CarladError):
    """Something could not be put on disk, and so must not be done, or it cannot be read back."""


class DamagedError(ConfigError):
    """The file is no database, or not a whole one."""


class Put(msgspec.Struct, frozen=True):
    """Writes a record, over the one before it."""

    kind: str
    key: str
    record: msgspec.Struct


class Delete(msgspec.Struct, frozen=True):
    """Removes a record; one that is not there is none the less gone."""

    kind: str
    key: str


Change = Put | Delete
Row = tuple[Change, "bytes | None"]


class _UnsuitableError(Exception):
    """A good database, but not one for this carlad."""


class Journal:
    """Blocking: call it from a thread, from as many as you like. `close` it in the end."""

    def __init__(self, path: Path, busy_s: float = 2.0) -> None:
        """Opens or creates the file. Raises ConfigError where it cannot be read and written, JournalError
        where the disk is at fault and may be well again soon, DamagedError where it makes no sense.

        `busy_s`: how long to wait for another program that looks into it.
        """
        self._lock = threading.Lock()
        self._busy_s = busy_s
        self._pragmas: dict[str, object] = {}  # as they were set last
        self._commits = 0  # since the last checkpoint
        try:
            self._connection = sqlite3.connect(
                path, timeout=busy_s, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ConfigError(f"cannot open the journal {path}: {error}") from error
        try:
            self._prepare()
        except _UnsuitableError as error:
            self.close()
            raise ConfigError(f"cannot use the journal {path}: {error}; move it away") from error
        except sqlite3.Error as error:
            self.close()
            raise _why_unusable(error)(f"cannot use the journal {path}: {error}") from error

    def token(self) -> int:
        """The highest token on disk; 0 in a new journal."""
        with self._patiently():
            (token,) = self._connection.execute("SELECT token FROM high_water").fetchone()
        return int(token)

    def keys(self, kind: str) -> tuple[str, ...]:
        """Of all records of a kind, readable or not. Raises JournalError."""
        try:
            with self._patiently():
                rows = self._connection.execute("SELECT key FROM record WHERE kind = ?", (kind,)).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"cannot read the journal: {error}") from error
        return tuple(key for (key,) in rows)

    def read(self, kind: str, type: type[R]) -> dict[str, R]:
        """All records of a kind by key. Raises JournalError for one that is not of `type`."""
        try:
            with self._patiently():
                query = "SELECT key, value FROM record WHERE kind = ? ORDER BY key"
                rows = self._connection.execute(query, (kind,)).fetchall()
            return {key: msgspec.msgpack.decode(value, type=type) for key, value in rows}
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise JournalError(f"cannot read the journal's records of kind {kind}: {error}") from error

    def write(self, changes: Iterable[Change] = (), token: int = 0) -> None:
        """All of it or nothing, in one transaction. Raises JournalError.

        When it returns, no end of any process can undo it. With a `token`, which is raised to and never
        lowered, it also outlasts a power cut. That costs a flush to the disk, and records do without:
        after a boot no process is left that they speak of.
        """
        rows = _rows(changes)
        try:
            with self._patiently():
                self._commit(rows, token)
                if self._commits >= _CHECKPOINT_AFTER:
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    self._commits = 0
        except sqlite3.Error as error:
            raise JournalError(f"cannot write the journal: {error}") from error

    def write_now(self, changes: Iterable[Change]) -> bool:
        """As `write` without a token, for who must not wait: a copy into the kernel's memory, or nothing.

        False, and nothing is written, where somebody else is at it, where it is time for what takes longer,
        or where something is wrong: `write` will wait, do it, or say.
        """
        if self._commits >= 2 * _CHECKPOINT_AFTER or not self._lock.acquire(blocking=False):
            return False
        try:
            self._set("busy_timeout", 0)
            self._commit(_rows(changes), 0)
        except sqlite3.Error:
            return False
        finally:
            self._lock.release()
        return True

    @contextmanager
    def _patiently(self) -> Iterator[None]:
        """It is this thread's; other programs are waited for."""
        with self._lock:
            self._set("busy_timeout", int(1000 * self._busy_s))
            yield

    def _set(self, pragma: str, value: object) -> None:
        """Where it is not so already: each statement is a good part of what a commit costs."""
        if self._pragmas.get(pragma) != value:
            self._connection.execute(f"PRAGMA {pragma} = {value}")
            self._pragmas[pragma] = value

    def _commit(self, rows: list[Row], token: int) -> None:
        self._set("synchronous", "FULL" if token > 0 else "NORMAL")
        if len(rows) == 1 and not token:
            self._apply(*rows[0])  # a statement by itself is a transaction, and a third of the cost
        else:
            with self._transaction():
                for row in rows:
                    self._apply(*row)
                if token > 0:
                    self._connection.execute("UPDATE high_water SET token = max(token, ?)", (token,))
        self._commits += 1

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            yield
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has rolled back already after some errors
                execute("ROLLBACK")
            raise

    def _apply(self, change: Change, value: bytes | None) -> None:
        if value is None:
            where = (change.kind, change.key)
            self._connection.execute("DELETE FROM record WHERE kind = ? AND key = ?", where)
        else:
            row = (change.kind, change.key, value)
            self._connection.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", row)

    def _prepare(self) -> None:
        execute = self._connection.execute
        (tables,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        if tables and application != _APPLICATION_ID:
            raise _UnsuitableError("it is another program's database")
        (found,) = execute("PRAGMA user_version").fetchone()
        if found > _SCHEMA_VERSION:
            raise _UnsuitableError(f"it is of a newer carlad (version {found})")
        (verdict,) = execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA wal_autocheckpoint = 0")  # it flushes, in whichever commit it comes to
        self._connection.executescript(_SCHEMA)


def _why_unusable(error: sqlite3.Error) -> type[CarladError]:
    """What is wrong with a file's content has no class of SQLite's own; all else has."""
    if type(error) is sqlite3.DatabaseError:
        return DamagedError
    return JournalError if re.search(r"disk is full|disk I/O error", str(error)) else ConfigError


def _rows(changes: Iterable[Change]) -> list[Row]:
    return [(change, _encoded(change)) for change in changes]


def _encoded(change: Change) -> bytes | None:
    return msgspec.msgpack.encode(change.record) if isinstance(change, Put) else None
