"""Calls over one connection to a server's RPC port."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from carlad.errors import ServerError
from carlad.wire.calls import BARE, CALLS
from carlad.wire.errors import WireError
from carlad.wire.msgpackrpc import Response, ResponseReader, request, result_of

_RECEIVE_BYTES = 64 << 10


@asynccontextmanager
async def connect(host: str, port: int) -> AsyncIterator[RpcClient]:
    """A connection that is closed at the end of the block. Raises ServerError where none is taken.

    Example:
        async with connect("127.0.0.1", 2000) as rpc:
            print(await rpc.call("version"))
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise ServerError(f"cannot connect to {host}:{port}: {error.__cause__ or error}") from error
    async with stream:
        yield RpcClient(stream, f"{host}:{port}")


class RpcClient:
    """One call at a time. A call that was cancelled costs nothing: its late answer is skipped."""

    def __init__(self, stream: trio.SocketStream, peer: str) -> None:
        self._stream = stream
        self._peer = peer
        self._reader = ResponseReader()
        self._responses: deque[Response] = deque()
        self._msgid = 0

    async def call(self, name: str, *arguments: object) -> Any:
        """The result of the type that `CALLS` gives for `name`. The caller's cancel scope is the timeout.

        Raises CallError with the server's own words where it refuses, ServerError where the connection
        ends or what comes is not CARLA's protocol.
        """
        call = CALLS[name]
        assert len(arguments) == len(call.arguments), f"{name} takes {len(call.arguments)} arguments"
        self._msgid = (self._msgid + 1) % (1 << 32)
        try:
            await self._stream.send_all(request(self._msgid, name, arguments, not call.waits))
            response = await self._answer_to(self._msgid)
            return result_of(response, call.result, name in BARE)
        except (trio.BrokenResourceError, WireError) as error:
            raise ServerError(f"cannot call {name} at {self._peer}: {error}") from error

    async def _answer_to(self, msgid: int) -> Response:
        while True:
            while self._responses:
                response = self._responses.popleft()
                if response.msgid == msgid:
                    return response
            data = await self._stream.receive_some(_RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("the server closed the connection")
            self._responses.extend(self._reader.receive(data))
