"""Puts on disk what the lease table promises, before anything is done about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

import msgspec
import trio

from carlad.broker.effects import Effect
from carlad.journal import Change, Journal, JournalError
from carlad.log import get_logger
from carlad.runtime import Changes

log = get_logger(__name__)

InThread = Callable[..., Awaitable[Any]]  # as trio.to_thread.run_sync
Perform = Callable[[list[Effect], "str | None"], None]

# So many tokens at once are put on disk as given out, because each time costs a flush and a thread. Those
# that are left when the daemon ends are never given out: tokens grow, and nobody counts them.
TOKENS_AHEAD = 64


class _Batch(msgspec.Struct):
    changes: tuple[Change, ...]
    effects: list[Effect]


class Writer:
    """What can be written without waiting is, at once; what is asked for while the disk is busy is written
    together (group commit), in a thread.

    `perform` gets the effects in the order in which they were decided, none before everything that was
    decided up to then is on disk, or with the reason where it cannot be written. That is then tried again
    with whatever comes next. Bounded by its callers: the lease table's answers end with the requests.
    """

    def __init__(self, journal: Journal, perform: Perform, in_thread: InThread) -> None:
        self._journal = journal
        self._in_thread = in_thread
        self._perform = perform
        self._token = 0
        self._token_on_disk = 0
        self._batches: list[_Batch] = []
        self._backlog: dict[tuple[str, str], Change] = {}
        self._more = Changes()
        self._idle = trio.Event()
        self._idle.set()
        self._ended = False

    def submit(self, changes: Iterable[Change], token: int, effects: list[Effect]) -> None:
        """`token`: the highest that was given out by now."""
        self._token = token
        batch = _Batch(tuple(changes), effects)
        if self._is_written_at_once(batch):
            self._perform(effects, None)
            return
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._batches.append(batch)
        self._more.mark()

    def _is_written_at_once(self, batch: _Batch) -> bool:
        if not self._idle.is_set() or self._backlog or self._token > self._token_on_disk:
            return False
        if self._needs_tokens():
            self._more.mark()
        return not batch.changes or self._journal.write_now(batch.changes)

    def _needs_tokens(self) -> bool:
        return self._token + TOKENS_AHEAD // 2 > self._token_on_disk

    async def settled(self) -> bool:
        """Returns when nothing is under way; False where `run` ended before."""
        await self._idle.wait()
        return not self._ended

    async def run(self, token_on_disk: int) -> NoReturn:
        """Until cancelled."""
        self._token = self._token_on_disk = token_on_disk
        try:
            while True:
                await self._more.wait()
                await self._write()
                while self._batches:
                    await self._write()
                self._idle.set()
        finally:
            self._ended = True
            self._idle.set()

    async def _write(self) -> None:
        batches, self._batches = self._batches, []
        for batch in batches:
            self._backlog.update({(change.kind, change.key): change for change in batch.changes})
        fault = None
        if self._backlog or self._needs_tokens():  # else it only had to wait its turn
            fault = await self._put_on_disk(tuple(self._backlog.values()))
        for batch in batches:
            self._perform(batch.effects, fault)

    async def _put_on_disk(self, changes: tuple[Change, ...]) -> str | None:
        """None, or what is wrong."""
        token = self._token + TOKENS_AHEAD if self._needs_tokens() else 0
        try:
            await self._in_thread(self._journal.write, changes, token)
        except JournalError as error:
            log.error("journal.failed", reason=error)  # noqa: TRY400 it is expected of a full disk
            return str(error)
        self._backlog.clear()
        self._token_on_disk = max(self._token_on_disk, token)
        return None
