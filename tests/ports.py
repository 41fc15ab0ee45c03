"""Ports for what tests start. Runs of tests at the same time never meet: each has a lane of ports of its own,
which it holds by a name in the kernel that goes with its process.
"""

from __future__ import annotations

import functools
import socket

# Above the demo's, and below those that the kernel gives to clients.
_LANES = [range(first, first + 1000) for first in range(21_000, 32_000, 1000)]
_held: list[socket.socket] = []
_begun = 0  # ports of the lane that were handed out, round and round


def free_ports(count: int) -> range:
    """`count` ports in a row that nobody uses: others than before, as long as there are some."""
    global _begun
    lane = lane_of_this_process()
    for _ in lane:
        first = _begun if _begun + count <= len(lane) else 0
        found = lane[first : first + count]
        taken = [at for at, port in enumerate(found) if not is_free(port)]
        _begun = first + (taken[-1] + 1 if taken else count)
        if not taken:
            return found
    raise RuntimeError(f"{count} ports in a row are not free in {lane[0]} to {lane[-1]}")


def free_port() -> int:
    """One that nobody uses, nor the one after it, where CARLA has its streams."""
    return free_ports(2)[0]


def is_free(port: int) -> bool:
    """Whether a server could listen there on this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
        return True


def listens(port: int) -> bool:
    """Whether somebody accepts connections there; unlike `is_free` it is in no server's way."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@functools.cache
def lane_of_this_process() -> range:
    """The first that no other process holds."""
    for lane in _LANES:
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0carlad tests, ports {lane[0]} to {lane[-1]}")
        except OSError:
            name.close()
            continue
        _held.append(name)
        return lane
    raise RuntimeError(f"{len(_LANES)} runs of the tests at once have all ports that are for tests")
