"""Hears at once of the death of processes that hold or want a lease, by pidfd."""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from carlad.broker.holder import Process, start_of

_KEPT = 16  # processes watched for nothing: who asks again soon is watched already


class Deaths:
    """`report` is called once for each watched process that dies. Costs one descriptor for each."""

    def __init__(self, nursery: trio.Nursery, report: Callable[[Process], None], kept: int = _KEPT) -> None:
        """Watches until `nursery` is cancelled."""
        self._nursery = nursery
        self._kept = kept
        self._report = report
        self._watched: dict[Process, trio.CancelScope] = {}

    def watch_only(self, processes: frozenset[Process]) -> None:
        """From now on these, and no others but for a few."""
        if len(self._watched) > len(processes) + self._kept:
            for process in self._watched.keys() - processes:
                self._watched.pop(process).cancel()
        for process in processes - self._watched.keys():
            self._watched[process] = trio.CancelScope()
            self._nursery.start_soon(self._watch, process, self._watched[process])

    async def _watch(self, process: Process, scope: trio.CancelScope) -> None:
        with scope:
            await death_of(process)
            del self._watched[process]
            self._report(process)


async def death_of(process: Process) -> None:
    """Returns when that process does not run any more, at once if it does not now."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if start_of(process.pid) == process.started:  # else the pid is another's by now
            await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
