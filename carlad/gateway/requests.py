"""Bytes to requests, strictly, and replies to bytes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from carlad.messages import PROTOCOL_VERSION, REQUEST_BYTES_MAX, Refused, Reply, ReplyBody, Request

_decode = msgspec.msgpack.Decoder(Request).decode
_encode = msgspec.msgpack.Encoder().encode


class UnreadableError(Exception):
    """Not a request of this protocol. `request_id` as far as it could be read, else empty."""

    def __init__(self, reason: str, request_id: str = "") -> None:
        super().__init__(reason)
        self.request_id = request_id


class _Envelope(msgspec.Struct):
    """What every version of the protocol has in common."""

    version: int
    request_id: str


def read(frames: Sequence[bytes]) -> Request:
    """The request in the frames after the sender's. Raises UnreadableError."""
    if len(frames) != 1:
        raise UnreadableError(f"cannot read a request of {len(frames)} frames: it is one")
    if len(frames[0]) > REQUEST_BYTES_MAX:
        raise UnreadableError(f"cannot read a request of {len(frames[0])} bytes: {REQUEST_BYTES_MAX} at most")
    request_id = ""
    try:
        envelope = msgspec.msgpack.decode(frames[0], type=_Envelope)
        request_id = envelope.request_id[:128]
        if envelope.version != PROTOCOL_VERSION:
            raise UnreadableError(
                f"cannot speak protocol version {envelope.version}: this daemon speaks {PROTOCOL_VERSION}",
                request_id,
            )
        return _decode(frames[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"cannot read the request: {error}", request_id) from error


def refusal(error: UnreadableError) -> bytes:
    """The reply to what could not be read."""
    return reply(error.request_id, Refused(code="bad-request", reason=str(error)))


def reply(request_id: str, body: ReplyBody) -> bytes:
    return _encode(Reply(version=PROTOCOL_VERSION, request_id=request_id, body=body))
