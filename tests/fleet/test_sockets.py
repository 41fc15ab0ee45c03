"""Whose connections a server's are, as the kernel says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from carlad.fleet.connections import Connection, Connections, connections, describe
from carlad.fleet.processes import socket_inodes
from carlad.fleet.sockets import (
    CLOSED,
    LISTEN,
    TIME_WAIT,
    Socket,
    address_text,
    read_messages,
    read_table,
    sockets,
)

HERE, THERE = bytes([127, 0, 0, 1]), bytes([10, 0, 0, 7])
ESTABLISHED, CLOSE_WAIT = 1, 8


def test_both_ways_to_ask_the_kernel_say_the_same():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as dual,
        socket.create_connection(listener.getsockname()) as one,
        socket.create_connection(("127.0.0.1", dual.getsockname()[1])) as other,
    ):
        mine = {str(os.fstat(opened.fileno()).st_ino) for opened in (listener, dual, one, other)}
        assert mine <= set(socket_inodes(os.getpid()))  # tests before may have left some to the collector
        asked = [found for found in sockets(os.getpid()) if found.inode in mine]
        tables = (Path(f"/proc/self/net/{name}").read_text() for name in ("tcp", "tcp6"))
        read = [found for table in tables for found in read_table(table) if found.inode in mine]
        assert sorted(asked) == sorted(read)
        assert len(asked) == 4
        assert {found.port for found in sockets(os.getpid(), 1 << LISTEN)} >= {
            listener.getsockname()[1],
            dual.getsockname()[1],
        }


def test_of_a_range_of_ports_those_are_told_that_have_one_of_them_at_either_end(monkeypatch):
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(listener.getsockname()) as client,
        socket.create_connection(other.getsockname()),
    ):
        server, peer = listener.getsockname()[1], client.getsockname()[1]
        ours = {server, other.getsockname()[1]}  # others on this machine come and go meanwhile
        passing = socket.create_connection(listener.getsockname())
        accepted = [listener.accept()[0] for _ in range(2)]
        ended = passing.getsockname()[1]
        passing.close()
        for end in accepted:
            end.close()
        client.close()
        every = sockets(os.getpid())
        for first, last in ((server, server), (min(server, peer), max(server, peer)), (ended, ended)):
            asked = sockets(os.getpid(), ports=(first, last))
            assert {port for found in asked for port in (found.port, found.peer_port)} >= {server}
            expected = [now for now in every if first <= now.port <= last or first <= now.peer_port <= last]
            assert _lasting(asked, ours) == _lasting(expected, ours)
        monkeypatch.setattr("carlad.fleet.sockets._ask", _refuse)
        expected = [now for now in every if server in (now.port, now.peer_port)]
        assert _lasting(sockets(os.getpid(), ports=(server, server)), ours) == _lasting(expected, ours)


def _refuse(*_):
    raise OSError


def _lasting(found, ours):
    """The connections of `ours`, whatever stage of their end each has reached."""
    lasting = {(now.port, now.peer_port) for now in found if now.state in (TIME_WAIT, LISTEN)}
    return {ends for ends in lasting if ours & {*ends}}


def test_nothing_is_said_of_a_process_that_has_ended():
    assert sockets(1 << 30) == []


def test_an_error_of_the_kernel_is_raised():
    refusal = b"\x24\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0" + (-2).to_bytes(4, "little", signed=True)
    with pytest.raises(FileNotFoundError):
        list(read_messages(refusal, 4))


@pytest.mark.parametrize(
    ("address", "text"),
    [(HERE, "127.0.0.1"), (bytes(10) + b"\xff\xff" + THERE, "10.0.0.7"), (bytes(15) + b"\1", "::1")],
)
def test_addresses_read_as_people_write_them(address, text):
    assert address_text(address) == text


OPEN = Connections(open=frozenset({Connection("10.0.0.7", 40000, 2000)}))
OVER = Connections(over=frozenset({Connection("127.0.0.1", 40000, 2000)}))
NOBODY = Connections()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Socket(LISTEN, HERE, 2000, bytes(4), 0, "5"), NOBODY),
        (Socket(ESTABLISHED, HERE, 2000, THERE, 40000, "5"), OPEN),
        (Socket(ESTABLISHED, HERE, 2000, THERE, 40000, "0"), OPEN),  # not accepted yet
        (Socket(CLOSE_WAIT, HERE, 2000, THERE, 40000, "5"), OPEN),  # what it sent is still to be read
        *((Socket(state, HERE, 2000, THERE, 40000, "0"), NOBODY) for state in CLOSED),
        (Socket(TIME_WAIT, HERE, 2000, HERE, 40000, "0"), OVER),  # the server closed it first
        (Socket(TIME_WAIT, HERE, 40000, HERE, 2000, "0"), OVER),  # the client did
        (Socket(TIME_WAIT, HERE, 40000, THERE, 2000, "0"), NOBODY),  # to another machine's port
        (Socket(ESTABLISHED, HERE, 40000, HERE, 2000, "5"), NOBODY),  # the server's end counts
        (Socket(ESTABLISHED, HERE, 2003, THERE, 40000, "5"), NOBODY),
        (Socket(ESTABLISHED, HERE, 2000, HERE, 50001, "5"), NOBODY),  # our own
    ],
)
def test_a_connection_to_a_server_is_open_or_over(found, says):
    assert connections([found], (2000, 2001, 2002), own_ports={50001}) == says


def test_a_visit_between_two_looks_is_seen():
    assert OVER.since(NOBODY) == OVER.over
    assert OVER.since(OVER) == frozenset()
    assert OPEN.since(OPEN) == OPEN.open


def test_a_client_is_described_by_its_process():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        connection = Connection("127.0.0.1", client.getsockname()[1], listener.getsockname()[1])
        assert describe(connection).startswith(f"process {os.getpid()} (")
    assert describe(Connection("10.0.0.7", 40000, 2000)) == "10.0.0.7:40000"
