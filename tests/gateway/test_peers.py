"""What is taken from a connection's address, and what is not."""

from __future__ import annotations

import getpass
import os

import pytest

from carlad.broker.holder import Peer
from carlad.gateway.peers import local_peer


@pytest.mark.parametrize("prefix", ["localhost", ""])
def test_a_unix_socket_s_peer_is_known_by_name(prefix: str) -> None:
    assert local_peer(f"{prefix}:{os.getuid()}:0:4711") == Peer(user=getpass.getuser(), pid=4711)


def test_a_user_without_a_name_is_known_by_number() -> None:
    assert local_peer("localhost:3999999999:0:1") == Peer(user="3999999999", pid=1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:1:2:3", "1:2:3:4", "fe80::0:0:7", ""])
def test_for_an_address_of_the_network_nobody_vouches(address: str) -> None:
    assert local_peer(address) is None
