"""What was asked of a server, by whom and when: for tests that judge what clients and supervisors did."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from carlad.wire import msgpackrpc
from carlad.wire.errors import WireError
from carlad.wire.msgpackrpc import Request


class CallLog:
    """A line for each call, in the order in which they are carried out.

    {"at_s": by the machine's monotonic clock, "peer": the client's port, null where it is gone, "call": its
    name, "arguments": null where they are garbage}. Each line is the kernel's before the call is carried out,
    so that a server that is killed has told of all that it did. The file has no bound.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, sock: socket.socket, request: Request) -> None:
        line = {
            "at_s": time.monotonic(),
            "peer": _peer(sock),
            "call": request.name,
            "arguments": _arguments(request),
        }
        os.write(self._file, json.dumps(line, default=repr).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


def _peer(sock: socket.socket) -> int | None:
    try:
        return int(sock.getpeername()[1])
    except OSError:
        return None


def _arguments(request: Request) -> Any:
    """None where they are garbage."""
    try:
        return msgpackrpc.decode(request.arguments, Any)
    except WireError:
        return None
