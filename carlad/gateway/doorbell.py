"""The daemon's own doors from outside: a new connection for each ring, as any client makes one.

So it is noticed, too, when nobody can come in any more: a socket's file that somebody has removed, a process
without a free file descriptor, a thread of libzmq that stands still.
"""

from __future__ import annotations

import secrets

import msgspec
import zmq

from carlad.gateway.notices import Notices
from carlad.gateway.zmq_socket import pumped
from carlad.messages import PROTOCOL_VERSION, EventsQuery, Request, notices_endpoint

_encode = msgspec.msgpack.Encoder().encode


class Doorbell:
    """`endpoint`: the daemon's own, a Unix socket. The caller's cancel scope is the patience."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, notices: Notices) -> None:
        self._context = context
        self._endpoint = endpoint
        self._notices = notices

    async def ring_router(self) -> None:
        """Returns when it has answered. Any answer will do: that it has too much to do is one."""
        query = EventsQuery(after=self._notices.newest, run=self._notices.run)
        request = Request(version=PROTOCOL_VERSION, request_id=secrets.token_hex(16), body=query)
        dealer = self._context.socket(zmq.DEALER)
        async with pumped(dealer) as client:
            dealer.connect(self._endpoint)
            await client.send([_encode(request)])
            await client.receive()

    async def ring_notices(self) -> None:
        """Returns when a listener has come in."""
        listener = self._context.socket(zmq.SUB)
        try:
            async with pumped(listener.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)) as monitor:
                listener.connect(notices_endpoint(self._endpoint))
                await monitor.receive()
        finally:
            listener.disable_monitor()
            listener.close(linger=0)
