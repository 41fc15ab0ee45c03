"""What a slot does between two incarnations: it backs off, waits for a scout, is drained or quarantined."""

from __future__ import annotations

import trio

from carlad.fleet.lifecycle import Event, State
from carlad.fleet.outbreak import Outbreak
from carlad.fleet.situation import Situation
from carlad.fleet.standing import Wish
from carlad.runtime import Changes


class Rest:
    def __init__(self, situation: Situation, outbreak: Outbreak) -> None:
        self._situation = situation
        self._standing = situation.standing
        self._outbreak = outbreak
        self._wished = Changes()
        self._was_asked = False
        outbreak.watch(situation.number, lambda: self._wished.mark())

    async def until_due(self, *, failed: bool, may_be_shared: bool) -> bool:
        """Until the next start is due, at once if nothing speaks against it. False: none ever is.

        `failed`: whether the last incarnation ended against our will; `may_be_shared`: of a cause that may
        keep other slots from starting, too. A slot that failed itself is STOPPED by now, and whoever
        restarted it has waited.
        """
        self._wished, self._was_asked = Changes(), False
        if failed and self._standing.wish is Wish.UP and self._situation.state is State.STOPPING:
            await self._back_off(may_be_shared)
        while self._standing.wish is not Wish.UP:
            if self._standing.wish is Wish.QUARANTINED:
                self._lie_in_quarantine()
            else:
                self.halt()
            if self._standing.wish is Wish.GONE:
                return False
            await self._wished.wait()
        return True

    def look_again(self) -> None:
        """What is waited for may be so by now."""
        self._was_asked = True
        self._wished.mark()

    def halt(self) -> None:
        if self._situation.state is not State.STOPPED:
            self._situation.enter(Event.HALT)
            self._situation.tell("slot.stopped", reason=self._situation.status.reason)

    async def _back_off(self, may_be_shared: bool) -> None:
        situation = self._situation
        reason = situation.status.reason
        backoff_s = self._standing.failed(reason)
        if may_be_shared:
            self._outbreak.failed(situation.number, reason or "")
        if backoff_s is None:
            self._outbreak.gave_up(situation.number, self._standing.why)
            return
        situation.enter(Event.BACK_OFF, restarts=situation.status.restarts + 1)
        situation.tell("slot.backoff", reason=f"next start in {backoff_s:.1f} s")
        with trio.move_on_after(backoff_s):
            while not self._was_asked:  # and not merely told that another slot's server is READY
                await self._wished.wait()
        await self._let_the_scout_try()

    async def _let_the_scout_try(self) -> None:
        """While several slots cannot start for one reason."""
        outbreak, reason = self._outbreak, self._situation.status.reason
        while (
            self._standing.wish is Wish.UP
            and (scout := outbreak.scout_of(self._situation.number)) is not None
        ):
            if outbreak.given_up is not None:
                self._standing.quarantine(f"as slot {scout}: {outbreak.given_up}")
                return
            self._situation.change(reason=f"waits while slot {scout}, which fails alike, tries: {reason}")
            await self._wished.wait()

    def _lie_in_quarantine(self) -> None:
        if self._situation.state is not State.QUARANTINED:
            self._situation.enter(Event.QUARANTINE, reason=self._standing.why)
            self._situation.tell("slot.quarantined", reason=self._standing.why)
