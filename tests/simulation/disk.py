"""The disk under the journal: in memory, which outlives every daemon; real files where it is damaged or the
power fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from carlad.journal import Journal, open_journal

_connect = sqlite3.connect
_numbers = count()


class Image(NamedTuple):
    """What is on the disk."""

    database: bytes
    log: bytes  # written ahead


class Disk:
    """`in_files`: from the beginning. `close` it in the end."""

    def __init__(self, folder: Path, *, in_files: bool) -> None:
        self._path = folder / "journal.sqlite"
        self._log = self._path.with_name(self._path.name + "-wal")
        self._memory = f"file:simulation-{next(_numbers)}?mode=memory&cache=shared"
        self._keeper = _connect(
            self._memory, uri=True
        )  # what is in memory is there as long as somebody looks
        self._in_files = in_files
        self._is_used = False
        self._journal: Journal | None = None
        self._flushed = b""  # of the log

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """Opened as a daemon does, and closed."""
        with patch("sqlite3.connect", self._connect):
            journal, _lost = open_journal(self._path, was_used=self._in_files and self._is_used)
        self._is_used = True
        with closing(journal):
            self._journal = journal
            self._flush()
            yield journal

    def _connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        if self._in_files:
            return _connect(path, **options)
        return _connect(self._memory, uri=True, **options)

    def cut(self, keep: int) -> None:
        """Behind so many of 1,000 parts of its length, while no daemon runs."""
        if not self._in_files:
            with closing(_connect(self._path)) as file:
                self._keeper.backup(file)
        self._in_files = True
        for beside in ("-wal", "-shm"):
            self._path.with_name(self._path.name + beside).unlink(missing_ok=True)
        with self._path.open("rb+") as file:
            file.truncate(self._path.stat().st_size * keep // 1000)

    # --- when the power fails

    def wrote(self) -> None:
        """The journal has; perhaps also to the disk itself."""
        journal = self._journal
        if self._in_files and journal is not None:
            is_checkpoint = journal._commits == 0
            if is_checkpoint or journal._pragmas["synchronous"] == "FULL":
                self._flush()

    def _flush(self) -> None:
        self._flushed = self._log.read_bytes() if self._log.exists() else b""

    def lose_power(self, keep: int) -> Image:
        """What will be there after it: of what was not flushed so many of 1,000 parts."""
        assert self._in_files
        log = self._log.read_bytes() if self._log.exists() else b""
        return Image(self._path.read_bytes(), _torn(self._flushed, log, keep))

    def put(self, image: Image) -> None:
        """In the place of what is there, while no daemon runs."""
        for beside in self._path.parent.glob(f"{self._path.name}*"):
            beside.unlink()
        self._path.write_bytes(image.database)
        self._log.write_bytes(image.log)

    def close(self) -> None:
        self._keeper.close()


def _torn(flushed: bytes, written: bytes, keep: int) -> bytes:
    """A log as it was flushed, overwritten by a part of what came since."""
    pairs = zip(flushed, written, strict=False)
    same = next((at for at, (before, now) in enumerate(pairs) if before != now), len(flushed))
    end = same + (len(written) - same) * keep // 1000
    return written[:end] + flushed[end:]
