"""Steps from another machine: the door, seen from either end."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import zmq

from carlad.session import tunnel
from tests.session.door import WITHIN_S, is_served, opened
from tests.session.leaks import wait_until


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


def test_a_host_that_is_gone_unheard_is_told_so_for_a_moment_only() -> None:
    """The stream has ended before the monitor tells that the connection has."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    outer = tunnel._open(context, zmq.DEALER)
    outer.setsockopt(zmq.RECONNECT_IVL, -1)
    with zmq.Context() as there, there.socket(zmq.ROUTER) as host:
        port = host.bind_to_random_port("tcp://127.0.0.1")
        outer.connect(f"tcp://127.0.0.1:{port}")
        outer.send(b"here")
        host.recv_multipart()
        host.close(linger=0)
    wait_until(lambda: not outer.poll(0, zmq.POLLOUT))
    (ours, theirs), (silent, kept) = socket.socketpair(), socket.socketpair()
    carrier = tunnel._Carrier(context, outer, lambda: None, silent)
    carrier.add(b"", theirs)
    carrier.start()
    with kept:
        ours.close()
        carrier.join(WITHIN_S)
        assert not carrier.is_alive()
