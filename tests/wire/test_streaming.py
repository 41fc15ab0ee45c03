"""Tokens, subscriptions and length-prefixed messages."""

from __future__ import annotations

import pytest

from carlad.wire.errors import WireError
from carlad.wire.streaming import MessageReader, SubscriptionReader, Token, frame_prefix, subscription

# id 5, port 2001 (0x07d1), TCP, no address of its own
TOKEN = bytes.fromhex("05000000 d107 01 00") + bytes(16)


def test_token_has_the_golden_bytes() -> None:
    assert Token(5, 2001).encode() == TOKEN
    assert Token.decode(TOKEN) == Token(5, 2001)


@pytest.mark.parametrize("data", [b"", TOKEN[:-1], TOKEN + b"\0", TOKEN[:6] + b"\x02" + TOKEN[7:]])
def test_what_is_no_tcp_token_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        Token.decode(data)


def test_subscription_is_read_byte_by_byte() -> None:
    reader = SubscriptionReader()
    assert [reader.receive(bytes([byte])) for byte in subscription(0x01020304)] == [
        None,
        None,
        None,
        0x01020304,
    ]


def test_a_subscriber_that_goes_on_talking_is_an_error() -> None:
    reader = SubscriptionReader()
    reader.receive(subscription(1))
    with pytest.raises(WireError):
        reader.receive(b"x")


def test_messages_survive_any_cut() -> None:
    stream = frame_prefix(3) + b"abc" + frame_prefix(1) + b"d"
    assert stream[:4] == b"\x03\0\0\0"
    for cut in range(len(stream)):
        reader = MessageReader()
        assert reader.receive(stream[:cut]) + reader.receive(stream[cut:]) == [b"abc", b"d"]


@pytest.mark.parametrize("size", [0, 101])
def test_empty_and_oversized_messages_are_errors(size: int) -> None:
    with pytest.raises(WireError):
        MessageReader(bytes_max=100).receive(size.to_bytes(4, "little"))
