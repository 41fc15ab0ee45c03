"""Folders for the sockets of env hosts, which nobody who is killed leaves behind for long.

A folder is locked as long as its owner lives, whatever kills that: the next process to make one removes those
that nobody holds. Locks, unlike pids, count between containers that share a temporary folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "carlad-session-"


class Folder:
    """One of this process, in the temporary folder; `close` removes it."""

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = _locked(self.path)
            if lock is not None and self.path.is_dir():
                break
            if lock is not None:  # it was swept away before it was locked
                os.close(lock)
        self._lock = lock

    def close(self) -> None:
        """May be called again."""
        if self._lock != -1:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        if (lock := _locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds it; None where somebody else does, or it is not this user's."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None
