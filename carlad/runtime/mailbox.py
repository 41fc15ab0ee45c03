"""A unit's address: other units ask, the unit serves one request at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import trio

Q = TypeVar("Q")
A = TypeVar("A")


class NoAnswerError(Exception):
    """The unit failed, or was closed, before it answered. It may or may not have acted."""


class Mailbox(Generic[Q, A]):
    """Bounded, and outliving the restarts of its unit. `ask` waits while it is full."""

    def __init__(self, capacity: int) -> None:
        self._send, self._inbox = trio.open_memory_channel[tuple[Q, trio.MemorySendChannel[A]]](capacity)

    async def ask(self, request: Q) -> A:
        """The unit's answer. The caller's cancel scope is the timeout.

        Raises NoAnswerError if the unit fails over it. A unit that asks itself would wait for ever.
        """
        reply, answer = trio.open_memory_channel[A](1)
        with answer:
            await self._post(request, reply)
            try:
                return await answer.receive()
            except trio.EndOfChannel:
                raise NoAnswerError(f"no answer to {request!r}") from None

    async def serve(self, handle: Callable[[Q], Awaitable[A]]) -> None:
        """Answers request after request, so `handle` owns its state without locks. Ends by `close`."""
        with suppress(trio.ClosedResourceError):
            async for request, reply in self._inbox:
                await _answer(handle, request, reply)

    def close(self) -> None:
        """For the parent, after the unit's end: whoever waits, or asks later, gets NoAnswerError."""
        with suppress(trio.WouldBlock, trio.ClosedResourceError):
            while True:
                _request, reply = self._inbox.receive_nowait()
                reply.close()
        self._inbox.close()

    async def _post(self, request: Q, reply: trio.MemorySendChannel[A]) -> None:
        try:
            await self._send.send((request, reply))
        except trio.BrokenResourceError:
            reply.close()
            raise NoAnswerError(f"no answer to {request!r}: closed") from None
        except BaseException:  # cancelled while the mailbox was full: nobody else will close it
            reply.close()
            raise


async def _answer(handle: Callable[[Q], Awaitable[A]], request: Q, reply: trio.MemorySendChannel[A]) -> None:
    with reply:  # closed even when `handle` raises
        answer = await handle(request)
        with suppress(trio.BrokenResourceError):  # the asker gave up
            reply.send_nowait(answer)
