"""TCP connections whose own port is known before anything of them can be seen."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import trio

from carlad.errors import ServerError

Bound = Callable[[int], object]


def forget(_port: int) -> None:
    """For who does not want to know the port."""


async def open_stream(host: str, port: int, bound: Bound) -> trio.SocketStream:
    """A connection over IPv4, on which alone CARLA listens; the caller closes it.

    `bound` is told our end's port before the connection is tried. Raises ServerError.
    """
    try:
        with ExitStack() as failing:
            sock = failing.enter_context(trio.socket.socket(socket.AF_INET))
            await sock.bind(("", 0))
            bound(int(sock.getsockname()[1]))
            await sock.connect((host, port))
            failing.pop_all()
            return trio.SocketStream(sock)
    except OSError as error:
        raise ServerError(f"cannot connect to {host}:{port}: {error}") from error
