"""Calls over one connection to a server's RPC port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import trio

from carlad.errors import ServerError
from carlad.rpc.streams import Bound, forget, open_stream
from carlad.wire.calls import BARE, CALLS
from carlad.wire.errors import WireError
from carlad.wire.msgpackrpc import Response, ResponseReader, request, result_of

_RECEIVE_BYTES = 64 << 10


@asynccontextmanager
async def connect(host: str, port: int, bound: Bound = forget) -> AsyncIterator[RpcClient]:
    """A connection that is closed at the end of the block. Raises ServerError where none is taken.

    Example:
        async with connect("127.0.0.1", 2000) as rpc:
            print(await rpc.call("version"))
    """
    async with await open_stream(host, port, bound) as stream:
        yield RpcClient(stream, f"{host}:{port}")


Question = tuple[Any, ...]  # the name of a call, then its arguments


class Asked(NamedTuple):
    """Calls that were sent."""

    ids: range
    questions: tuple[Question, ...]


class RpcClient:
    """A call that was cancelled costs nothing: its late answer is skipped."""

    def __init__(self, stream: trio.SocketStream, peer: str) -> None:
        self._stream = stream
        self._peer = peer
        self._reader = ResponseReader()
        self._responses: dict[int, Response] = {}
        self._msgid = 0

    async def call(self, name: str, *arguments: object) -> Any:
        """The result of the type that `CALLS` gives for `name`. The caller's cancel scope is the timeout.

        Raises CallError with the server's own words where it refuses, ServerError where the connection
        ends or what comes is not CARLA's protocol.
        """
        (result,) = await self.calls((name, *arguments))
        return result

    async def calls(self, *questions: Question) -> list[Any]:
        """The results of calls that are all sent before the first is answered, in the order of `questions`.

        A server that serves calls once in a tick serves them all in one. It may serve them in any order.
        Raises as `call` does, CallError once all are answered.
        """
        return await self.answers(await self.ask(*questions))

    async def ask(self, *questions: Question) -> Asked:
        """Sends calls; their results are had from `answers`, later."""
        first = self._msgid + 1
        self._msgid += len(questions)
        try:
            await self._stream.send_all(b"".join(map(_request, count(first), questions)))
        except trio.BrokenResourceError as error:
            raise self._failure(questions, error) from error
        return Asked(range(first, first + len(questions)), questions)

    async def answers(self, asked: Asked) -> list[Any]:
        """As `calls`."""
        responses = await self._answers_to(asked)
        try:
            return [_result(q[0], r) for q, r in zip(asked.questions, responses, strict=True)]
        except WireError as error:
            raise self._failure(asked.questions, error) from error

    async def responses(self, *questions: Question) -> list[Response]:
        """As `calls`, but what came instead of what it means. Raises ServerError."""
        return await self._answers_to(await self.ask(*questions))

    async def _answers_to(self, asked: Asked) -> list[Response]:
        try:
            return [await self._answer_to(msgid) for msgid in asked.ids]
        except (trio.BrokenResourceError, WireError) as error:
            raise self._failure(asked.questions, error) from error

    def _failure(self, questions: tuple[Question, ...], error: Exception) -> ServerError:
        return ServerError(f"cannot call {_names(questions)} at {self._peer}: {error}")

    async def _answer_to(self, msgid: int) -> Response:
        """Skips what answers another call: servers may answer out of order."""
        while True:
            if (response := self._responses.pop(msgid, None)) is not None:
                return response
            data = await self._stream.receive_some(_RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("the server closed the connection")
            self._responses.update((response.msgid, response) for response in self._reader.receive(data))


def _names(questions: tuple[Question, ...]) -> str:
    return ", ".join(name for name, *_ in questions)


def _request(msgid: int, question: Question) -> bytes:
    name, *arguments = question
    call = CALLS[name]
    assert len(arguments) == len(call.arguments), f"{name} takes {len(call.arguments)} arguments"
    return request(msgid, name, tuple(arguments), not call.waits)


def _result(name: str, response: Response) -> Any:
    return result_of(response, CALLS[name].result, name in BARE)
