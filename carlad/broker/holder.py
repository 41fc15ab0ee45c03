"""Who holds a lease: what the kernel says about a local process, the client's own words for the rest.

A holder is a process (with all its threads) for as long as it lives, identified by its pid and the time of
its start, so that a pid that is used again is somebody else. What it forks or executes is not the holder:
a child may use the server, but the lease ends with the process that asked for it, unless that process
said that the lease belongs to none (`Holder.pid` 0).
"""

from __future__ import annotations

import msgspec

from carlad.messages import Holder

_STAT_BYTES_MAX = 4096
_STARTED = 19  # of the fields after the command's name in /proc/PID/stat: proc(5)'s field 22


class Peer(msgspec.Struct, frozen=True):
    """The other end of a connection, as the kernel (or a key) vouches for it.

    `user` empty: nobody vouches. `pid` 0: not a process of this machine, or none that we can see.
    `is_remote`: it came in by TCP, with the user's key.
    """

    user: str = ""
    pid: int = 0
    is_remote: bool = False


class Process(msgspec.Struct, frozen=True):
    """`started`: clock ticks from boot to its start."""

    pid: int
    started: int


class GoneError(Exception):
    """The process that asked does not exist any more."""


def identified(words: Holder, peer: Peer) -> Holder:
    """`words` with everything that is vouched for put in its place. Raises GoneError.

    Host and program stay the holder's own words, and of a remote holder its pid too, which then has no
    `started`: nothing is concluded from it.
    """
    user = peer.user or words.user
    if words.pid == 0 or peer.pid == 0:
        return msgspec.structs.replace(words, user=user, started=0)
    started = start_of(peer.pid)
    if started is None:
        raise GoneError(f"process {peer.pid} is gone")
    return msgspec.structs.replace(words, user=user, pid=peer.pid, started=started)


def process_of(holder: Holder) -> Process | None:
    """The local process whose death ends the holder's leases; None: there is none."""
    return Process(holder.pid, holder.started) if holder.started else None


def start_of(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None: there is none with that pid, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(_STAT_BYTES_MAX) or b""
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b")")[2].split()  # a command's name may contain anything
    return None if fields[0] in (b"Z", b"X") else int(fields[_STARTED])
