"""The disk under the journal: in memory, which outlives every daemon; a real file once it was damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from carlad.journal import Journal, open_journal

_connect = sqlite3.connect
_numbers = count()


class Disk:
    """`close` it in the end."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.sqlite"
        self._memory = f"file:simulation-{next(_numbers)}?mode=memory&cache=shared"
        self._keeper = _connect(
            self._memory, uri=True
        )  # what is in memory is there as long as somebody looks
        self._is_damaged = False

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """Opened as a daemon does, and closed."""
        with patch("sqlite3.connect", self._connect):
            journal, _lost = open_journal(self._path, was_used=self._is_damaged)
        with closing(journal):
            yield journal

    def _connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        if self._is_damaged:
            return _connect(path, **options)
        return _connect(self._memory, uri=True, **options)

    def cut(self, keep: int) -> None:
        """Behind so many of 1,000 parts of its length, while no daemon runs."""
        if not self._is_damaged:
            with closing(_connect(self._path)) as file:
                self._keeper.backup(file)
        self._is_damaged = True
        for beside in ("-wal", "-shm"):
            self._path.with_name(self._path.name + beside).unlink(missing_ok=True)
        with self._path.open("rb+") as file:
            file.truncate(self._path.stat().st_size * keep // 1000)

    def close(self) -> None:
        self._keeper.close()
