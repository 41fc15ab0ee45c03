"""Who sent a message: what libzmq learned of the connection when it was made."""

from __future__ import annotations

import pwd
import re
from functools import lru_cache

import zmq

from carlad.broker.holder import Peer

# libzmq's `Peer-Address` of a Unix socket: the credentials of the process that connected, as Linux has
# them (stream_engine_base.cpp). Of TCP it is an IP address, which no such text can be.
_CREDENTIALS = re.compile(r"(?:localhost)?:(\d+):(\d+):(\d+)")


def peer_of(frame: zmq.Frame) -> Peer:
    """Who sent that frame."""
    return peer_at(str(frame.get("Peer-Address")))


def peer_at(address: str) -> Peer:
    """Of that `Peer-Address`; for what is not a local process nobody vouches."""
    credentials = _CREDENTIALS.fullmatch(address)
    if credentials is None:
        return Peer()
    uid, _gid, pid = map(int, credentials.groups())
    return Peer(user=_user(uid), pid=pid)


@lru_cache(maxsize=1024)  # a directory service may take a moment
def _user(uid: int) -> str:
    """The name, or the number of one who has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
