"""Blocks of ports: who may have which, and whose process listens there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec

from carlad.config import PORTS_PER_SLOT
from carlad.errors import ServerError
from carlad.fleet.processes import name_of, socket_inodes
from carlad.fleet.sockets import LISTEN, sockets
from carlad.log import get_logger

log = get_logger(__name__)

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


LOOPBACK = "127.0.0.1"


class Ports(msgspec.Struct, frozen=True):
    """The block that begins at `rpc`: then streams, secondary servers, and the holder's Traffic Manager.

    CARLA fixes the first three; the last is opened by the client that holds the server. `host` is where
    carlad reaches them.
    """

    rpc: int
    host: str = LOOPBACK

    @property
    def streaming(self) -> int:
        return self.rpc + 1

    @property
    def served(self) -> tuple[int, ...]:
        """What the server itself listens on."""
        return (self.rpc, self.streaming, self.secondary)

    @property
    def secondary(self) -> int:
        return self.rpc + 2

    @property
    def traffic_manager(self) -> int:
        return self.rpc + 3


class PortRegistry:
    """Hands out blocks in turn, so that a block rests as long as possible before it is used again."""

    def __init__(self, first: int, last: int) -> None:
        self._range = f"{first} to {last}"
        self._blocks = [Ports(rpc) for rpc in range(first, last - PORTS_PER_SLOT + 2, PORTS_PER_SLOT)]
        self._taken: set[Ports] = set()
        self._next = 0

    def take(self, previous: Ports | None) -> Ports:
        """A block whose ports were bound a moment ago, never `previous` unless there is no other at all.

        Raises ServerError where none is.
        """
        busy = 0
        for offset in range(len(self._blocks)):
            index = (self._next + offset) % len(self._blocks)
            block = self._blocks[index]
            if block in self._taken or (block == previous and len(self._blocks) > 1):
                continue
            port = _busy_port(block)
            if port is None:
                self._taken.add(block)
                self._next = index + 1
                return block
            busy += 1
            log.warning("ports.busy", port=port, holder=describe_listener(port))
        raise ServerError(
            f"no free block of {PORTS_PER_SLOT} ports in {self._range}: {len(self._blocks)} blocks, "
            f"{len(self._taken)} in use by the fleet, {busy} by others; widen fleet.ports"
        )

    def hold(self, ports: Ports) -> None:
        """A server listens there already; in this registry's range or not."""
        self._taken.add(ports)

    def is_held(self, ports: Ports) -> bool:
        return ports in self._taken

    def go_on_after(self, rpc_port: int) -> None:
        """`take` first tries the block behind the one that begins at `rpc_port`."""
        self._next = sum(block.rpc <= rpc_port for block in self._blocks)

    def give_back(self, ports: Ports) -> None:
        self._taken.discard(ports)


def _busy_port(block: Ports) -> int | None:
    for port in range(block.rpc, block.rpc + PORTS_PER_SLOT):
        if not (can_bind("0.0.0.0", port) and can_bind("127.0.0.1", port)):
            return port
    return None


def can_bind(address: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that linger in TIME_WAIT are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def listening_pid(port: int) -> int | None:
    """The process that listens on `port` of this machine; None where there is none that we may look at."""
    inodes = _listening_inodes(port)
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return next((pid for pid in pids if inodes & socket_inodes(pid)), None) if inodes else None


def ephemeral_advice(first: int, last: int) -> tuple[str, ...]:
    """Why ports from `first` to `last` may be lost to outgoing connections; nothing where they are not."""
    try:
        lowest, highest = map(int, _EPHEMERAL.read_text().split())
    except (OSError, ValueError):  # no /proc/sys, as in some containers
        return ()
    if last < lowest or highest < first:
        return ()
    return (
        f"fleet.ports: {first} to {last} overlaps {lowest} to {highest}, from which Linux takes ports for "
        f"outgoing connections: a server may find its port in use; stay below {lowest}",
    )


def listener_among(pids: Iterable[int], ports: Ports, netns_of: int | None = None) -> int | None:
    """Which of these processes serves calls on a block, once streams are served too; None before.

    They all are in the network namespace of the process `netns_of`, or in our own. Raises ServerError with
    the pid of a stranger that has one of the block's ports.
    """
    pids = tuple(pids)
    calls, streams, *_others = [
        _listener_among(pids, port, netns_of) for port in range(ports.rpc, ports.rpc + PORTS_PER_SLOT)
    ]
    return streams and calls


def _listener_among(pids: tuple[int, ...], port: int, netns_of: int | None) -> int | None:
    inodes = _listening_inodes(port, netns_of)
    found = None
    for pid in pids:
        held = inodes & socket_inodes(pid)
        found = pid if held and found is None else found
        inodes -= held
    if inodes:
        raise ServerError(f"port {port} belongs to {describe_listener(port)}, not to this server")
    return found


def is_served(ports: Ports, netns_of: int) -> bool:
    """Whether anybody serves calls and streams in the network namespace of this process."""
    return all(_listening_inodes(port, netns_of) for port in (ports.rpc, ports.streaming))


def describe_listener(port: int) -> str:
    """`process 123 (nginx)`, as far as we may look."""
    inodes = _listening_inodes(port)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and inodes & socket_inodes(int(entry)):
            return f"process {entry} ({name_of(int(entry))})"
    return "another process"


def _listening_inodes(port: int, netns_of: int | None = None) -> set[str]:
    listeners = sockets(netns_of or os.getpid(), 1 << LISTEN)
    return {listener.inode for listener in listeners if listener.port == port}
