"""Does the world of a server that nobody holds go on? Its answers alone do not show that."""

from __future__ import annotations

import trio

from carlad.fleet.probe import check_ticks
from carlad.fleet.reach import Reach

PERIOD_S = 10.0  # two snapshots; the whole world is in each
_LOOKS = 2  # in a row: on a machine that is busy with others a server may get no time for seconds


class Progress:
    """Looked at now and then, and never longer than until somebody holds the server."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._looked_at_s = trio.current_time()
        self._looking = trio.CancelScope()
        self._still = 0  # looks in a row

    async def is_missing(self, patience_s: float) -> bool:
        """Whether there was no tick for so long, twice, and yet the server has answered since: ask when it
        has.

        Raises ServerError where the streams cannot be reached.
        """
        if self._still >= _LOOKS:
            return True
        if not self._still and trio.current_time() < self._looked_at_s + PERIOD_S:
            return False
        with trio.CancelScope() as self._looking:
            with trio.move_on_after(patience_s) as patience:
                await check_ticks(self._reach)
            self._still = self._still + 1 if patience.cancelled_caught else 0
        self._looked_at_s = trio.current_time()
        return False

    def stop(self) -> None:
        """No stream is held at a server that somebody holds, and its world goes on as its holder likes."""
        self._looking.cancel()
        self._still = 0
