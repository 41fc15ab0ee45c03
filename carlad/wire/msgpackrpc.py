"""The msgpack-rpc dialect of CARLA (rpclib), both directions, without I/O.

Messages are msgpack objects back to back without a length prefix:
request `[0, msgid, name, [metadata, *args]]` with metadata `[fire_and_forget]`, response
`[1, msgid, error, result]`. Errors of the simulator travel inside `result`, see `answer`;
`error` is only for calls that the server does not know.
"""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec

from carlad.wire.errors import CallError, WireError

# The largest message either side takes: a map's OpenDRIVE text is about 3 MB, a navigation mesh 4 MB, a
# 4K texture as nested arrays 50 MB.
MESSAGE_BYTES_MAX = 256 << 20

_encoder = msgspec.msgpack.Encoder()
_VOID_DONE = [[False]]


class Request(msgspec.Struct, frozen=True):
    """A call as received; `arguments` is the raw msgpack array `[metadata, *args]`."""

    msgid: int | None
    name: str
    arguments: msgspec.Raw


class Response(msgspec.Struct, frozen=True):
    """An answer as received; `error` is None unless the server does not know the call."""

    msgid: int
    error: object
    result: msgspec.Raw


class MessageSplitter:
    """Cuts a byte stream into msgpack objects. Not reusable after a `WireError`."""

    def __init__(self, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=bytes_max, strict_map_key=False)
        self._buffer = bytearray()
        self._bytes_max = bytes_max
        self._cut_at = 0  # stream offset of the first byte in the buffer

    def receive(self, data: bytes) -> list[bytes]:
        """The objects completed by `data`. Raises WireError on garbage or an object over the limit."""
        self._buffer += data
        if len(self._buffer) > self._bytes_max:
            raise WireError(f"cannot take a message of more than {self._bytes_max} bytes")
        messages = []
        try:
            self._unpacker.feed(data)
            while self._buffer:
                self._unpacker.skip()
                size = self._unpacker.tell() - self._cut_at
                messages.append(bytes(self._buffer[:size]))
                del self._buffer[:size]
                self._cut_at += size
        except msgpack.OutOfData:
            pass  # the unpacker remembers where it stopped inside the unfinished object
        except (msgpack.UnpackException, ValueError) as error:
            raise WireError(f"cannot read msgpack: {error!r}") from error
        return messages


class RequestReader:
    """The server's ear: bytes in, requests out."""

    def __init__(self) -> None:
        self._splitter = MessageSplitter()

    def receive(self, data: bytes) -> list[Request]:
        return [_request(message) for message in self._splitter.receive(data)]


class ResponseReader:
    """The client's ear: bytes in, responses out."""

    def __init__(self) -> None:
        self._splitter = MessageSplitter()

    def receive(self, data: bytes) -> list[Response]:
        return [_response(message) for message in self._splitter.receive(data)]


def request(msgid: int, name: str, args: tuple[object, ...], fire_and_forget: bool = False) -> bytes:
    """The bytes of a call."""
    return _encoder.encode((0, msgid, name, ((fire_and_forget,), *args)))


def answer(msgid: int, value: object) -> bytes:
    """The bytes of a successful `Response<T>`; `None` stands for `Response<void>`."""
    return _encoder.encode((1, msgid, None, _VOID_DONE if value is None else ((1, value),)))


def answer_bare(msgid: int, value: object) -> bytes:
    """The bytes of a result without the Response wrapper (`apply_batch`)."""
    return _encoder.encode((1, msgid, None, value))


def refuse(msgid: int, message: str, void: bool) -> bytes:
    """The bytes of a failed `Response`; the Python client raises RuntimeError(message)."""
    return _encoder.encode((1, msgid, None, (failure(message, void),)))


def failure(message: str, void: bool = False) -> tuple[object, tuple[str]]:
    """A failed `Response` as a value, as `apply_batch` nests them."""
    return (True if void else 0, (message,))


def fault(msgid: int, message: str) -> bytes:
    """The bytes with which rpclib answers a call that never reached a function."""
    return _encoder.encode((1, msgid, message, None))


def unknown_call(msgid: int, name: str, argument_count: int) -> bytes:
    """The bytes with which rpclib answers a name it does not know."""
    text = f"rpclib: server could not find function '{name}' with argument count {argument_count}."
    return fault(msgid, text)


def result_of(response: Response, value_type: Any, bare: bool = False) -> Any:
    """The value inside a response.

    `value_type` None stands for `Response<void>`. Raises CallError with the simulator's message, and
    WireError where the shape is not the expected one.
    """
    if response.error is not None:
        raise CallError(str(response.error))
    if bare:
        return decode(response.result, value_type)
    (parts,) = decode(response.result, tuple[list[msgspec.Raw]])
    tag = _part(parts, 0)
    if value_type is None:
        if decode(tag, bool) is False:
            return None
    elif decode(tag, int) == 1:
        return decode(_part(parts, 1), value_type)
    raise CallError(" ".join(decode(_part(parts, 1), list[str])))


def _part(parts: list[msgspec.Raw], place: int) -> msgspec.Raw:
    if place >= len(parts):
        raise WireError(f"a response of {len(parts)} parts is none")
    return parts[place]


def decode(raw: bytes | msgspec.Raw, value_type: Any) -> Any:
    """Decode strictly; text that is not UTF-8 keeps its readable part. Raises WireError."""
    try:
        return msgspec.msgpack.decode(raw, type=value_type)
    except UnicodeDecodeError:
        return _decode_leniently(raw, value_type)
    except (msgspec.DecodeError, IndexError) as error:
        raise WireError(str(error)) from error


def _decode_leniently(raw: bytes | msgspec.Raw, value_type: Any) -> Any:
    plain = msgpack.unpackb(bytes(raw), unicode_errors="replace", strict_map_key=False)
    try:
        return msgspec.convert(plain, type=value_type)
    except msgspec.ValidationError as error:
        raise WireError(str(error)) from error


_request_decoder = msgspec.msgpack.Decoder(tuple[int, int, str, msgspec.Raw])
_response_decoder = msgspec.msgpack.Decoder(tuple[int, int, str | None, msgspec.Raw])
_notification_decoder = msgspec.msgpack.Decoder(tuple[int, str, msgspec.Raw])


def _request(message: bytes) -> Request:
    try:
        kind, msgid, name, arguments = _request_decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _notification(message)
    if kind != 0:
        raise WireError(f"cannot serve a message of type {kind}: a server takes requests only")
    return Request(msgid, name, arguments)


def _notification(message: bytes) -> Request:
    try:
        kind, name, arguments = _notification_decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"cannot read a request: {error}") from error
    if kind != 2:
        raise WireError(f"cannot serve a message of type {kind} with three fields")
    return Request(None, name, arguments)


def _response(message: bytes) -> Response:
    try:
        kind, msgid, error, result = _response_decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise WireError(f"cannot read a response: {fault}") from fault
    if kind != 1:
        raise WireError(f"cannot take a message of type {kind}: a client takes responses only")
    return Response(msgid, error, result)
