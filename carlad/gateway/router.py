"""The daemon's ear: one task for each request, bounded in number."""

from __future__ import annotations

import trio
import zmq

from carlad.broker.holder import Peer
from carlad.gateway import requests
from carlad.gateway.auth import Admitted
from carlad.gateway.desk import Desk
from carlad.gateway.peers import peer_of
from carlad.gateway.requests import UnreadableError
from carlad.gateway.zmq_socket import ZmqSocket
from carlad.log import get_logger
from carlad.messages import REQUEST_BYTES_MAX, Refused, ReplyBody, Request

log = get_logger(__name__)

REQUESTS_MAX = 2048  # the broker lets half as many wait for a server


def router_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A ROUTER, not bound yet, that drops peers which send more than a request may have."""
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX)
    return socket


class Router:
    """Answers whoever asks. A reply to somebody who is gone is dropped by ZeroMQ."""

    def __init__(self, socket: ZmqSocket, desk: Desk, admitted: Admitted | None = None) -> None:
        self._socket = socket
        self._desk = desk
        self._admitted = admitted
        self._requests = 0
        self._waiting = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Until cancelled."""
        self._requests = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._socket.pump)
            while True:
                frames = await self._socket.receive_frames()
                peer = peer_of(frames[0], self._admitted)
                if peer is None:
                    continue  # it is being cut off
                sender, *payload = (frame.bytes for frame in frames)
                try:
                    request = requests.read(payload)
                except UnreadableError as error:
                    await self._socket.send([sender, requests.refusal(error)])
                    continue
                if self._requests >= REQUESTS_MAX:
                    refused = Refused(code="overloaded", reason=f"{self._requests} requests are open already")
                    await self._reply(sender, request, refused)
                    continue
                self._requests += 1
                nursery.start_soon(self._serve, sender, request, peer)

    async def answered(self) -> None:
        """Returns once nobody waits for an answer, which may be never."""
        while self._requests:
            await self._waiting.park()

    async def _serve(self, sender: bytes, request: Request, peer: Peer) -> None:
        async def interim(body: ReplyBody) -> None:
            await self._reply(sender, request, body)

        try:
            body = await self._desk.answer(request, peer, interim)
            if body is not None:
                await self._reply(sender, request, body)
        finally:
            self._requests -= 1
            if not self._requests:
                self._waiting.unpark_all()

    async def _reply(self, sender: bytes, request: Request, body: ReplyBody) -> None:
        await self._socket.send([sender, requests.reply(request.request_id, body)])
