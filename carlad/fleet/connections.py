"""Who is connected to a server's ports.

CARLA asks nobody who he is, so a connection is the only sign of a client. The kernel's table shows live
connections and those that ended within the last minute (TIME_WAIT): on the same machine one that was
there for a moment between two looks is seen too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

import msgspec

from carlad.fleet.processes import name_of, socket_inodes
from carlad.fleet.sockets import CLOSED, LISTEN, TIME_WAIT, Socket, address_text, sockets


class Connection(msgspec.Struct, frozen=True):
    """From `peer_port` of a client to `port` of the server; `peer` is the client's address."""

    peer: str
    peer_port: int
    port: int


class Connections(msgspec.Struct, frozen=True):
    """`open` at either end: also those whose client has gone and whose server has not noticed.
    `over`: they ended lately."""

    open: frozenset[Connection] = frozenset()
    over: frozenset[Connection] = frozenset()

    def since(self, before: Connections) -> frozenset[Connection]:
        """Those that were there at some time after `before`."""
        return self.open | (self.over - before.over)


def connections(
    table: Iterable[Socket], ports: Collection[int], own_ports: Collection[int] = ()
) -> Connections:
    """Those to `ports`, whose one end is a server's; of one that has ended either end may be left."""
    still: set[Connection] = set()
    over: set[Connection] = set()
    for found in table:
        if found.port in own_ports or found.peer_port in own_ports:  # most of them
            continue
        if (connection := _connection(found, ports)) is not None:
            (over if found.state == TIME_WAIT else still).add(connection)
    return Connections(frozenset(still), frozenset(over))


def _connection(found: Socket, ports: Collection[int]) -> Connection | None:
    if found.port in ports:
        if found.state == LISTEN or (found.state in CLOSED and found.inode == "0"):
            return None  # the server has closed it and reads nothing from it
        return Connection(address_text(found.peer), found.peer_port, found.port)
    if found.peer_port in ports and found.state == TIME_WAIT and found.address == found.peer:
        return Connection(address_text(found.address), found.port, found.peer_port)
    return None


def describe(connection: Connection) -> str:
    """`process 123 (python3)`, as far as we may look, else the address."""
    for found in sockets(os.getpid(), ports=(connection.port, connection.port)):
        if (found.port, found.peer_port) == (connection.peer_port, connection.port):
            for entry in os.listdir("/proc"):
                if entry.isdigit() and found.inode in socket_inodes(int(entry)):
                    return f"process {entry} ({name_of(int(entry))})"
    return f"{connection.peer}:{connection.peer_port}"
