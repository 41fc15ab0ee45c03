"""Which process is at the other end of a connection on this machine, and whether threads of it sleep.

Elsewhere, in another namespace or as another user's, there is nothing to be seen, and nothing is claimed.
Sources: proc_pid_net(5), proc_pid_stat(5).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


Address = tuple[str, int]  # IPv4


def process_of(local: Address, remote: Address) -> int | None:
    """The process that has the end at `local` of this TCP connection open; None where none is seen.

    Connections to other places, and such as are over, may have had the same local address.
    """
    inode = _inode_of(local, remote)
    if inode is None:
        return None
    wanted, user = f"socket:[{inode}]", os.getuid()
    for name in filter(str.isdecimal, os.listdir(_PROC)):
        with suppress(OSError):  # it has ended, or is somebody else's
            if user in (0, (_PROC / name).stat().st_uid) and _has_open(f"/proc/{name}/fd", wanted):
                return int(name)
    return None


def _has_open(folder: str, wanted: str) -> bool:
    for number in os.listdir(folder):
        with suppress(OSError):  # closed meanwhile
            if os.readlink(f"{folder}/{number}") == wanted:
                return True
    return False


def _inode_of(local: Address, remote: Address) -> str | None:
    wanted = [_written(local), _written(remote)]
    with suppress(OSError):
        for line in (_PROC / "net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1:3] == wanted:
                return fields[9]
    return None


def _written(address: Address) -> str:
    host, port = address
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"


def threads_of(process: int) -> frozenset[int]:
    with suppress(OSError):
        return frozenset(map(int, os.listdir(f"/proc/{process}/task")))
    return frozenset()


def are_asleep(process: int, threads: Iterable[int]) -> bool:
    """Whether none of these threads runs or waits for a core."""
    return all(_state(process, thread) != b"R" for thread in threads)


def _state(process: int, thread: int) -> bytes:
    """One letter, empty for a thread that has ended."""
    try:
        with open(f"/proc/{process}/task/{thread}/stat", "rb", buffering=0) as stat:
            return stat.read(256).rpartition(b") ")[2][:1]
    except OSError:
        return b""
