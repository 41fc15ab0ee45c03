"""The TCP door of an env host: whatever strangers and those with a key send, the next client is served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from carlad import keys
from tests.fuzz.damage import damaged
from tests.fuzz.effort import tried
from tests.session.door import WITHIN_S, Site, is_served, opened

# ZMTP 3.1 (RFC 37): signature, version, mechanism, as-server, filler; and CURVE's HELLO (RFC 26).
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
HELLO = b"\x04\xc8" + b"\x05HELLO" + b"\x01\x00" + bytes(72) + bytes(32) + bytes(8) + bytes(80)
NULL = GREETING.replace(b"CURVE", b"NULL\0") + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("door")) as site:
        yield site


@tried(25)
@given(
    st.one_of(
        damaged(GREETING + HELLO), damaged(NULL), st.binary(max_size=300).map(lambda more: GREETING + more)
    )
)
def test_who_speaks_something_else_to_the_door_disturbs_nobody(site: Site, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.port), WITHIN_S) as stranger:
        with suppress(OSError):
            stranger.sendall(data)
        assert is_served(site)


pieces = st.lists(st.binary(max_size=200), min_size=1, max_size=3)


@tried(25)
@given(st.lists(pieces, min_size=1, max_size=6), st.booleans())
def test_whoever_has_a_key_disturbs_nobody_with_what_they_send(
    site: Site, messages: list[list[bytes]], is_large: bool
) -> None:
    """Several parts where there is to be one, empty ones before and in between, one that is too large."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.SNDTIMEO, 1_000)
        keys.connect(dealer, site.endpoint)
        with suppress(zmq.Again):
            for message in messages:
                dealer.send_multipart(message)
            if is_large:
                dealer.send(bytes(1 << 20))
        assert is_served(site)
    finally:
        context.destroy(linger=0)
    assert is_served(site)
