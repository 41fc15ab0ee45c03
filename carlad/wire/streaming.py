"""CARLA's streams without I/O: tokens, the subscription, and length-prefixed messages.

A client opens one TCP connection per stream, sends the stream's id (u32) and then only reads.
Source: LibCarla `carla/streaming/detail/` (0.9.16).
"""

from __future__ import annotations

import struct

import msgspec

from carlad.wire.errors import WireError

WORLD_STREAM = 1  # the world observer has this id on every server
MESSAGE_BYTES_MAX = 256 << 20  # a 4K float G-buffer is 133 MB

_token = struct.Struct("<IHBB16s")
_u32 = struct.Struct("<I")
_TCP = 1


class Token(msgspec.Struct, frozen=True):
    """Where a stream is to be had. The address is always "the host that served the RPC"."""

    stream_id: int
    port: int

    def encode(self) -> bytes:
        """24 bytes: id, port, protocol, address type 0 (not set), address."""
        return _token.pack(self.stream_id, self.port, _TCP, 0, b"")

    @classmethod
    def decode(cls, data: bytes) -> Token:
        """Raises WireError where `data` is not 24 bytes or not a TCP token."""
        if len(data) != _token.size:
            raise WireError(f"cannot read a stream token of {len(data)} bytes: expected {_token.size}")
        stream_id, port, protocol, _address_type, _address = _token.unpack(data)
        if protocol != _TCP:
            raise WireError(f"cannot use a stream over protocol {protocol}: only TCP (1)")
        return cls(stream_id, port)


def subscription(stream_id: int) -> bytes:
    """The only bytes a subscriber ever sends."""
    return _u32.pack(stream_id)


def frame_prefix(payload_bytes: int) -> bytes:
    """The length that precedes a payload. An empty payload would end the client's reading."""
    assert payload_bytes > 0
    return _u32.pack(payload_bytes)


class SubscriptionReader:
    """The server's ear on a stream connection."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> int | None:
        """The stream id, once four bytes are in. Raises WireError for anything after them."""
        self._buffer += data
        if len(self._buffer) > _u32.size:
            raise WireError("cannot take more than a stream id from a subscriber")
        if len(self._buffer) < _u32.size:
            return None
        (stream_id,) = _u32.unpack(self._buffer)
        return int(stream_id)


class MessageReader:
    """The subscriber's ear: bytes in, payloads out. Not reusable after a `WireError`."""

    def __init__(self, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._bytes_max = bytes_max

    def receive(self, data: bytes) -> list[bytes]:
        """The payloads completed by `data`. Raises WireError on an empty or too large one."""
        self._buffer += data
        payloads = []
        while len(self._buffer) >= _u32.size:
            (size,) = _u32.unpack_from(self._buffer)
            if not 0 < size <= self._bytes_max:
                raise WireError(f"cannot take a stream message of {size} bytes")
            if len(self._buffer) < _u32.size + size:
                break
            payloads.append(bytes(self._buffer[_u32.size : _u32.size + size]))
            del self._buffer[: _u32.size + size]
        return payloads
