"""The kernel's table of TCP sockets, of this network namespace or of another process's.

Our own is asked through sock_diag(7), which takes 0.2 ms where reading /proc/net/tcp takes 5: the kernel
formats every line of that, and looks into every one of its 262144 buckets for it. And it tells of the asked
ports alone, so that what a look costs does not grow with the fleet.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

# include/net/tcp_states.h
CLOSED = (4, 5, 9, 11)  # on this side: FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING
TIME_WAIT = 6
LISTEN = 10
_ALL_STATES = 0xFFF
_ALL_PORTS = (0, 0xFFFF)

# include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_message = struct.Struct("=IHHII")  # length, type, flags, sequence, pid
_request = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states, any socket
_socket = struct.Struct("=BBxx2s2s16s16s12x16xI")  # family, state, ports, addresses, ..., inode
_attribute = struct.Struct("=HH")  # length with this header, type
_BYTECODE = 1
_comparison = struct.Struct("=BBHBBH")  # code, bytes to go on if so, and if not; (unused), port
_jump = struct.Struct("=BBH")  # code, (for the kernel's check alone), bytes to go on
_JUMP, _LOCAL_GE, _LOCAL_LE, _PEER_GE, _PEER_LE = 1, 2, 3, 4, 5
_RECEIVE_BYTES = 1 << 16


class Socket(NamedTuple):
    """Addresses in network byte order. `inode` "0": no process has it open any more, or not yet."""

    state: int
    address: bytes
    port: int
    peer: bytes
    peer_port: int
    inode: str


def sockets(pid: int, states: int = _ALL_STATES, ports: tuple[int, int] = _ALL_PORTS) -> list[Socket]:
    """As process `pid` sees them, IPv4 and IPv6; to be called in a thread.

    `states`: a bit for each; `ports`: the first and the last, at either end. Empty where there is no such
    process any more.
    """
    if _namespace(pid) == _namespace(os.getpid()):
        with suppress(OSError):  # a kernel without sock_diag
            families = (socket.AF_INET, socket.AF_INET6)
            return [found for family in families for found in _ask(family, states, *ports)]
    first, last = ports
    return [
        found
        for name in ("tcp", "tcp6")
        for found in read_table(_read(f"/proc/{pid}/net/{name}"))
        if 1 << found.state & states and (first <= found.port <= last or first <= found.peer_port <= last)
    ]


def address_text(address: bytes) -> str:
    """As people write it; an IPv4 address that is mapped into IPv6 as the former."""
    if len(address) == 4:
        return str(IPv4Address(address))
    return str(IPv6Address(address).ipv4_mapped or IPv6Address(address))


def read_table(text: str) -> Iterator[Socket]:
    """The lines of /proc/PID/net/tcp or tcp6, proc_pid_net(5)."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        (address, port), (peer, peer_port) = _endpoint(fields[1]), _endpoint(fields[2])
        yield Socket(int(fields[3], 16), address, port, peer, peer_port, fields[9])


def read_messages(data: bytes, address_bytes: int) -> Iterator[Socket | None]:
    """The sockets in one datagram of an answer; None at its end. Raises OSError where it is an error."""
    at = 0
    while at < len(data):
        length, kind, _flags, _sequence, _pid = _message.unpack_from(data, at)
        if kind == _DONE:
            yield None
            return
        if kind == _ERROR:
            number = -struct.unpack_from("=i", data, at + _message.size)[0]
            raise OSError(number, os.strerror(number))
        _family, state, port, peer_port, address, peer, inode = _socket.unpack_from(data, at + _message.size)
        yield Socket(
            state,
            address[:address_bytes],
            int.from_bytes(port, "big"),
            peer[:address_bytes],
            int.from_bytes(peer_port, "big"),
            str(inode),
        )
        at += (length + 3) & ~3


def _ask(family: int, states: int, first: int, last: int) -> Iterator[Socket]:
    bytecode = _with_port(first, last)
    attribute = _attribute.pack(_attribute.size + len(bytecode), _BYTECODE) + bytecode
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        size = _message.size + _request.size + len(attribute)
        kernel.send(
            _message.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
            + _request.pack(family, socket.IPPROTO_TCP, 0, states)
            + attribute
        )
        while True:
            for found in read_messages(kernel.recv(_RECEIVE_BYTES), 4 if family == socket.AF_INET else 16):
                if found is None:
                    return
                yield found


def _with_port(first: int, last: int) -> bytes:
    """The kernel's little program (include/uapi/linux/inet_diag.h) for a port of this range at either end.

    To go on to its end is to be told of, and beyond its end, not to be.
    """
    step = _comparison.size
    local = _comparison.pack(_LOCAL_GE, step, 2 * step + _jump.size, 0, 0, first)
    local += _comparison.pack(_LOCAL_LE, step, step + _jump.size, 0, 0, last)
    local += _jump.pack(_JUMP, _jump.size, _jump.size + 2 * step)
    peer = _comparison.pack(_PEER_GE, step, 2 * step + 4, 0, 0, first)
    return local + peer + _comparison.pack(_PEER_LE, step, step + 4, 0, 0, last)


def _endpoint(text: str) -> tuple[bytes, int]:
    """The kernel prints an address as words of 32 bits in the machine's byte order."""
    address, _, port = text.rpartition(":")
    words = bytes.fromhex(address)
    return b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4)), int(port, 16)


def _namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:  # it has ended, or is another user's: its tables can be read all the same
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
