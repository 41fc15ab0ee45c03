"""Who is connected to a server's ports, as the kernel's tables say (proc_net(5)).

CARLA asks nobody who he is, so a connection is the only sign of a client. A table shows live connections
and those that ended within the last minute (TIME_WAIT): on the same machine one that was there for a
moment between two looks is seen too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import msgspec

from carlad.fleet.processes import name_of, socket_inodes

# include/net/tcp_states.h
_FIN_WAIT = ("04", "05")
_TIME_WAIT, _CLOSE_WAIT, _LISTEN = "06", "08", "0A"


class Connection(msgspec.Struct, frozen=True):
    """From `peer_port` of a client to `port` of the server; `peer` is the client's address."""

    peer: str
    peer_port: int
    port: int


class Connections(msgspec.Struct, frozen=True):
    """`live` are open at either end, `left` are those whose client has gone and whose server has not
    noticed, `over` have ended lately."""

    live: frozenset[Connection]
    left: frozenset[Connection]
    over: frozenset[Connection]

    def since(self, before: Connections, own_ports: Collection[int]) -> frozenset[Connection]:
        """Those that have been there after `before`, a look at which nobody was, except our own."""
        new = self.live | self.left | (self.over - before.over)
        return frozenset(connection for connection in new if connection.peer_port not in own_ports)


def look(pid: int, ports: Collection[int]) -> Connections:
    """The connections to `ports` in the network namespace of process `pid`; to be called in a thread."""
    tables = [_read(pid, name) for name in ("tcp", "tcp6")]
    return connections(tables, ports)


def connections(tables: Iterable[str], ports: Collection[int]) -> Connections:
    """What /proc/PID/net/tcp and tcp6 say of connections to `ports`."""
    live: set[Connection] = set()
    left: set[Connection] = set()
    over: set[Connection] = set()
    wanted = tuple(f":{port:04X} " for port in ports)
    for row in _rows(tables, wanted):
        local, remote, state = row[1], row[2], row[3]
        if local[-5:] + " " in wanted:
            if state in _FIN_WAIT and row[9] == "0":
                continue  # the server has closed it and reads nothing from it
            found = Connection(_address(remote), _port(remote), _port(local))
            (over if state == _TIME_WAIT else left if state == _CLOSE_WAIT else live).add(found)
        elif state == _TIME_WAIT and local.rpartition(":")[0] == remote.rpartition(":")[0]:
            over.add(Connection(_address(local), _port(local), _port(remote)))
    return Connections(frozenset(live), frozenset(left), frozenset(over))


def describe(connection: Connection) -> str:
    """`process 123 (python3)`, as far as we may look, else the address."""
    needle = f":{connection.peer_port:04X} "
    for row in _rows([_read(os.getpid(), name) for name in ("tcp", "tcp6")], (needle,)):
        if row[1].endswith(needle.strip()) and row[2].endswith(f":{connection.port:04X}"):
            for entry in os.listdir("/proc"):
                if entry.isdigit() and row[9] in socket_inodes(int(entry)):
                    return f"process {entry} ({name_of(int(entry))})"
    return f"{connection.peer}:{connection.peer_port}"


def _rows(tables: Iterable[str], ports: tuple[str, ...]) -> Iterator[list[str]]:
    """Of connections, not listeners, that name one of the ports at either end."""
    for table in tables:
        for line in table.splitlines()[1:]:
            if any(port in line for port in ports):
                fields = line.split()
                if fields[3] != _LISTEN:
                    yield fields


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/net/{name}").read_text()
    except OSError:  # the process has gone, or there is no IPv6
        return ""


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2], 16)


def _address(endpoint: str) -> str:
    """The kernel prints words of 32 bits in the machine's byte order."""
    words = bytes.fromhex(endpoint.rpartition(":")[0])
    address = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    if len(address) == 4:
        return str(IPv4Address(address))
    mapped = IPv6Address(address).ipv4_mapped
    return str(mapped or IPv6Address(address))
