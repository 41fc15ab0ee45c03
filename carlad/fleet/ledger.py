"""What the fleet puts in the journal: what its slots are, and which ports were given out last."""

from __future__ import annotations

import trio

from carlad.journal import Change, Delete, Journal, JournalError, Put
from carlad.log import get_logger
from carlad.runtime import Changes

log = get_logger(__name__)

_AGAIN_S = 1.0  # a disk that is full does not become free at once


class Ledger:
    """Writes in the order of the notes; of several notes on one record the newest only."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._notes: dict[tuple[str, str], Change] = {}
        self._noted = Changes()
        self._writing = trio.Lock()

    def note(self, change: Change) -> None:
        """It will be on disk in a moment, or is lost with the daemon."""
        self._notes[change.kind, change.key] = change
        self._noted.mark()

    async def keep(self, *changes: Put | Delete) -> None:
        """It is on disk when this returns, and so is all that was noted before. Raises JournalError."""
        for change in changes:
            self.note(change)
        async with self._writing:
            await self._write()

    async def run(self) -> None:
        """Writes what is noted, until cancelled."""
        while True:
            await self._noted.wait()
            try:
                await self.keep()
            except JournalError as error:
                log.error("journal.failed", reason=error)  # noqa: TRY400 a traceback would help nobody
                await trio.sleep(_AGAIN_S)

    async def _write(self) -> None:
        notes, self._notes = self._notes, {}
        if not notes:
            return
        try:
            await trio.to_thread.run_sync(self._journal.write, tuple(notes.values()))
        except JournalError:
            self._notes = notes | self._notes
            self._noted.mark()
            raise
