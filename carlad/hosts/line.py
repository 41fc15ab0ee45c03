"""The daemon's conversation with an env host, before the client's: the step protocol under trio."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TypeVar

import trio

from carlad.errors import CarladError, ServerError
from carlad.session import protocol
from carlad.session.protocol import (
    LENGTHS,
    Failed,
    FailureKind,
    Hello,
    ProtocolError,
    Reply,
    Request,
    Welcome,
)

ReplyT = TypeVar("ReplyT", bound=Reply)

_RETRY_S = 0.02


class HostError(ServerError):
    """The env host, or the server that it is attached to, does not do its part."""


class EnvironmentRefusedError(CarladError):
    """The environment raised an error of its own: its configuration, or a defect in it."""


class Line:
    """Raises HostError for a host that is gone or talks nonsense. Silence is the caller's cancel scope."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._heard = b""

    async def ask(self, request: Request, answer: type[ReplyT]) -> ReplyT:
        """Raises EnvironmentRefusedError with the environment's words."""
        try:
            await self._stream.send_all(b"".join(protocol.encode_head(request)))
            head_bytes, body_bytes = LENGTHS.unpack(await self._exactly(LENGTHS.size))
            if head_bytes > protocol.HEAD_BYTES_MAX or body_bytes:
                raise ProtocolError(f"an answer of {head_bytes} and {body_bytes} bytes")
            reply = protocol.decode_reply(await self._exactly(head_bytes)).message
        except (trio.BrokenResourceError, ProtocolError) as error:
            raise HostError(f"its env host broke off: {error}") from error
        if isinstance(reply, answer):
            return reply
        raise _error(reply)

    async def _exactly(self, count: int) -> bytes:
        while len(self._heard) < count:
            data = await self._stream.receive_some(1 << 16)
            if not data:
                raise trio.BrokenResourceError("it closed the connection")
            self._heard += data
        taken, self._heard = self._heard[:count], self._heard[count:]
        return taken

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self._stream)


async def connect(path: Path, secret: str) -> Line:
    """A line to the host that listens there, as soon as it does. The caller closes it."""
    while True:
        try:
            stream = await trio.open_unix_socket(path)
            break
        except OSError:
            await trio.sleep(_RETRY_S)
    line = Line(stream)
    try:
        await line.ask(Hello(secret), Welcome)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return line


def _error(reply: Reply) -> Exception:
    if isinstance(reply, Failed) and reply.kind is FailureKind.ENVIRONMENT_ERROR:
        return EnvironmentRefusedError(reply.reason)
    if isinstance(reply, Failed) and reply.kind is FailureKind.SIMULATOR_LOST:
        return HostError(f"its server does not answer: {reply.reason}")
    return HostError(f"its env host answered {reply}")
