"""Who sent a message: what libzmq learned of the connection when it was made."""

from __future__ import annotations

import pwd
import re
from functools import lru_cache

import zmq

from carlad.broker.holder import Peer
from carlad.gateway.auth import Admitted

# libzmq's `Peer-Address` of a Unix socket: the credentials of the process that connected, as Linux has
# them (stream_engine_base.cpp). Of TCP it is an IP address, which no such text can be.
_CREDENTIALS = re.compile(r"(?:localhost)?:(\d+):(\d+):(\d+)")


def peer_of(frame: zmq.Frame, admitted: Admitted | None) -> Peer | None:
    """Who sent that frame; None: a key that is not admitted any more."""
    address = str(frame.get("Peer-Address"))
    local = local_peer(address)
    if local is not None or admitted is None:
        return local
    # Over a Unix socket anybody could claim a `User-Id`; over TCP the doorkeeper alone says it.
    user = admitted.user_of(str(frame.get("User-Id")))
    return None if user is None else Peer(user=user, is_remote=True)


def local_peer(address: str) -> Peer | None:
    """Of that `Peer-Address`; None for what is not a local process."""
    credentials = _CREDENTIALS.fullmatch(address)
    if credentials is None:
        return None
    uid, _gid, pid = map(int, credentials.groups())
    return Peer(user=_user(uid), pid=pid)


@lru_cache(maxsize=1024)  # a directory service may take a moment
def _user(uid: int) -> str:
    """The name, or the number of one who has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
