"""Steps from another machine: the door, seen from either end."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from carlad.session import tunnel
from tests.session.door import WITHIN_S, is_served, opened


def test_a_door_that_is_closed_ends_its_clients_and_its_threads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with opened(tmp_path) as site:
        assert is_served(site)
        client = tunnel.connected(site.endpoint, WITHIN_S)
        client.sendall(b"still here")
        client.settimeout(WITHIN_S)
        assert client.recv(100) == b"still here"
    with client:
        assert client.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", site.port), WITHIN_S)
    for thread in set(threading.enumerate()) - before:
        thread.join(WITHIN_S)
        assert not thread.is_alive()
