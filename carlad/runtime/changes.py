"""A conflating signal: "something changed since you last looked"."""

from __future__ import annotations

import trio


class Changes:
    """Any number of `mark`s between two `wait`s are one. For one waiting task; a second one needs its own."""

    def __init__(self) -> None:
        self._marked = trio.Event()

    def mark(self) -> None:
        """Never blocks and is never lost, whether or not somebody waits."""
        self._marked.set()

    async def wait(self) -> None:
        """Returns once marked since the last `wait` returned. Look at the state after it, not before."""
        await self._marked.wait()
        self._marked = trio.Event()
