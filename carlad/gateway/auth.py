"""Who may come in from other machines: the keys in a folder, each of a user.

libzmq asks about every CURVE connection by ZAP (RFC 27) before anything else of it is looked at; who has
no key in the folder gets no connection. A key that is taken away is refused from then on with each of its
requests too, as libzmq asks only once.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import trio
import zmq

from carlad import keys
from carlad.errors import ConfigError
from carlad.gateway.zmq_socket import ZmqSocket, pumped
from carlad.log import get_logger

log = get_logger(__name__)

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # where libzmq asks
_VERSION = b"1.0"
_DOMAIN = "carlad"
_PING_DOMAIN = b"carlad's own question"  # of no connection: whether anybody answers
_BIND_AGAIN_S = 0.02


class Admitted:
    """`folder` holds NAME.key of each client: NAME, up to an `@` if it has one, is its user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user_of_key = _read(folder)

    def user_of(self, key: str) -> str | None:
        """Of a public key in hexadecimal; None: it may do nothing."""
        return self._user_of_key.get(key)

    def reread(self) -> bool:
        """From now on what the folder says now. Whether a key was taken away from somebody.

        Raises ConfigError, and then all stays as it was.
        """
        before, self._user_of_key = self._user_of_key, _read(self._folder)
        return not before.items() <= self._user_of_key.items()


def _read(folder: Path) -> dict[str, str]:
    try:
        return keys.users_in(folder)
    except ConfigError as error:
        raise ConfigError(f"remote.keys_dir: {error}") from error


class Doorkeeper:
    """Answers libzmq's questions about keys."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], admitted: Admitted) -> None:
        """From now on sockets of `context` ask here; until `run` they wait."""
        socket = context.socket(zmq.ROUTER)
        socket.bind(_ZAP_ENDPOINT)
        self._context = context
        self._socket = ZmqSocket(socket)
        self._admitted = admitted

    async def ping(self) -> None:
        """Returns when it has answered a question where libzmq asks its own."""
        socket = self._context.socket(zmq.DEALER)
        socket.connect(_ZAP_ENDPOINT)
        async with pumped(socket) as asker:
            await asker.send([b"", _VERSION, b"", _PING_DOMAIN, b"", b"", b"NULL"])
            await asker.receive()

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._socket.pump)
            while True:
                asker, empty, *question = await self._socket.receive()
                await self._socket.send([asker, empty, *self._answer(question)])

    def close(self) -> None:
        self._socket.close(linger_ms=0)

    def _answer(self, question: list[bytes]) -> list[bytes]:
        _version, request_id, domain, address, _identity, mechanism, *credentials = question
        key = credentials[0].hex() if mechanism == b"CURVE" and credentials else ""
        user = self._admitted.user_of(key)
        if domain == _PING_DOMAIN:
            return [_VERSION, request_id, b"400", b"that was no connection", b"", b""]
        if user is None:
            log.warning("client.refused", address=address.decode(errors="replace"), key=key)
            return [_VERSION, request_id, b"400", b"this key is not admitted", b"", b""]
        log.info("client.admitted", address=address.decode(errors="replace"), user=user)
        return [_VERSION, request_id, b"200", b"OK", key.encode(), b""]


def bind(socket: zmq.Socket[bytes], address: str, pair: keys.KeyPair) -> None:
    """As `keys.bind`. Raises ConfigError."""
    try:
        keys.bind(socket, address, pair, _DOMAIN)
    except zmq.ZMQError as error:
        raise ConfigError(f"remote.listen: cannot listen on {address}: {error}") from error


async def cut_off(socket: zmq.Socket[bytes], address: str) -> None:
    """Ends all connections that came in over TCP; who has a key connects again. The caller's cancel scope
    is the limit for getting the address back, which the kernel has after a moment."""
    socket.unbind(address)
    while True:
        with suppress(zmq.ZMQError):
            socket.bind(address)
            return
        await trio.sleep(_BIND_AGAIN_S)
