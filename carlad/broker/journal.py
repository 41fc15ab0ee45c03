"""What must survive the daemon: the highest fencing token that was ever given out. SQLite, write-ahead."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from carlad.errors import CarladError, ConfigError

_SCHEMA_VERSION = 1


class JournalError(CarladError):
    """A token could not be put on disk: it must not be used."""


class Journal:
    """Blocking: call it from a thread. One owner at a time; `close` it in the end."""

    def __init__(self, path: Path, busy_s: float = 2.0) -> None:
        """Opens or creates the file. Raises ConfigError where it cannot be read and written.

        `busy_s`: how long to wait for another program that looks into it.
        """
        try:
            self._connection = sqlite3.connect(
                path, timeout=busy_s, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ConfigError(f"cannot open the journal {path}: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise ConfigError(
                f"cannot use the journal {path}: {error}; restore it, or move it away once no old holder "
                "uses a server any more: fencing tokens then start again at 1"
            ) from error

    def token(self) -> int:
        """The highest token on disk; 0 in a new journal."""
        (token,) = self._connection.execute("SELECT token FROM high_water").fetchone()
        return int(token)

    def raise_token(self, token: int) -> None:
        """On disk when it returns. Lower ones change nothing. Raises JournalError."""
        try:
            self._connection.execute("UPDATE high_water SET token = max(token, ?)", (token,))
        except sqlite3.Error as error:
            raise JournalError(f"cannot write the journal: {error}") from error

    def close(self) -> None:
        self._connection.close()

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits to a power cut
        (found,) = execute("PRAGMA user_version").fetchone()
        if found > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it is of a newer carlad (version {found})")
        (verdict,) = execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        execute("CREATE TABLE IF NOT EXISTS high_water (token INTEGER NOT NULL) STRICT")
        execute("INSERT INTO high_water SELECT 0 WHERE NOT EXISTS (SELECT * FROM high_water)")
        execute("UPDATE high_water SET token = token")  # finds out now whether it can be written
        execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
