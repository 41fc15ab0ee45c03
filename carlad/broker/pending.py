"""A reply that comes now or later."""

from __future__ import annotations

import trio

from carlad.messages import ReplyBody
from carlad.runtime import NoAnswerError


class Pending:
    """Settled once, by the broker."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._body: ReplyBody | None = None
        self._failed = False

    def settle(self, body: ReplyBody | None) -> None:
        self._body = body
        self._settled.set()

    def fail(self) -> None:
        self._failed = True
        self._settled.set()

    async def wait(self) -> ReplyBody | None:
        """None: the request was sent again, and who sent it last is answered.

        Raises NoAnswerError if the broker fails meanwhile.
        """
        await self._settled.wait()
        if self._failed:
            raise NoAnswerError("the broker failed")
        return self._body
