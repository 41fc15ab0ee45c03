"""What was asked of a server and what it answered, as a file that can be sent, read and replayed."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec

from carlad.checkup.shapes import deviations, plain
from carlad.errors import ConfigError
from carlad.wire.calls import BARE, CALLS
from carlad.wire.errors import CallError, WireError
from carlad.wire.msgpackrpc import Response, result_of

FORMAT = 1
_KEPT_BYTES_MAX = 256 << 10  # compressed; a road network or a navigation mesh is named by its size only


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call. `error`: for a call that the server does not know. `result`: msgpack, compressed by zlib,
    None where it was too long to keep; `result_bytes` is its full size."""

    call: str
    arguments: list[Any]
    took_s: float
    result_bytes: int
    error: str | None = None
    result: bytes | None = None


class Watched(msgspec.Struct, frozen=True):
    """One message of a stream, without its length: `payload` is compressed by zlib."""

    stream: str
    payload: bytes
    payload_bytes: int


class Transcript(msgspec.Struct, frozen=True):
    """`server` is what was started, in the words of its backend."""

    format: int
    carlad: str
    server: str
    asked: list[Asked]
    watched: list[Watched]


class Recorder:
    """Collects what is asked and answered, in order."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._watched: list[Watched] = []

    def answered(self, call: str, arguments: tuple[object, ...], response: Response, took_s: float) -> Asked:
        packed = zlib.compress(bytes(response.result))
        asked = Asked(
            call=call,
            arguments=msgspec.msgpack.decode(msgspec.msgpack.encode(list(arguments))),
            took_s=round(took_s, 6),
            result_bytes=len(response.result),
            error=None if response.error is None else str(response.error),
            result=packed if len(packed) <= _KEPT_BYTES_MAX else None,
        )
        self._asked.append(asked)
        return asked

    def saw(self, stream: str, payload: bytes) -> None:
        packed = zlib.compress(payload)
        if len(packed) <= _KEPT_BYTES_MAX:
            self._watched.append(Watched(stream, packed, len(payload)))

    def transcript(self, carlad: str, server: str) -> Transcript:
        return Transcript(FORMAT, carlad, server, list(self._asked), list(self._watched))


def response_of(asked: Asked, msgid: int) -> Response | None:
    """What the server answered; None where it was not kept."""
    if asked.result is None:
        return None
    return Response(msgid, asked.error, msgspec.Raw(zlib.decompress(asked.result)))


def findings(transcript: Transcript) -> tuple[str, ...]:
    """What the server did not do as `carlad.wire` says: refusals, unknown calls, other shapes."""
    found = []
    for asked in transcript.asked:
        response = response_of(asked, msgid=0)
        if response is not None:
            found += [f"{asked.call}: {deviation}" for deviation in call_deviations(asked.call, response)]
    return tuple(dict.fromkeys(found))


def call_deviations(name: str, response: Response) -> tuple[str, ...]:
    """Of one answer."""
    call = CALLS[name]
    try:
        value = result_of(response, None if call.result is None else msgspec.Raw, name in BARE)
        if call.result is None:
            return ()
        result_of(response, call.result, name in BARE)
        return deviations(plain(value), call.result)
    except CallError as refusal:
        return (f"refused: {refusal}",)
    except WireError as error:
        return (f"cannot be read: {error}",)


def save(transcript: Transcript, path: Path) -> None:
    """JSON; bytes as base64. Raises ConfigError where it cannot be written."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(transcript), indent=1) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write the transcript {path}: {error.strerror}") from error


def load(path: Path) -> Transcript:
    """Raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Transcript)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"cannot read the transcript {path}: {error}") from error
