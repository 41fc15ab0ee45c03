"""A server made of a transcript: each call is answered as it was then, in the order of then."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import trio

from carlad.checkup.transcript import Asked, Transcript, response_of
from carlad.wire.msgpackrpc import RequestReader


@asynccontextmanager
async def replayed(transcript: Transcript) -> AsyncIterator[int]:
    """Its port."""
    answers: dict[str, deque[Asked]] = defaultdict(deque)
    for asked in transcript.asked:
        if asked.result is not None:
            answers[asked.call].append(asked)
    async with trio.open_nursery() as nursery:
        serve = partial(_serve, answers)
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _serve(answers: dict[str, deque[Asked]], stream: trio.SocketStream) -> None:
    requests = RequestReader()
    async for data in stream:
        for request in requests.receive(data):
            response = response_of(answers[request.name].popleft(), request.msgid)
            message = (1, response.msgid, response.error, response.result)
            await stream.send_all(msgspec.msgpack.encode(message))
