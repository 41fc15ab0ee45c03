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
_DOMAIN = b"carlad"
_PING_DOMAIN = b"carlad's own question"  # of no connection: whether anybody answers
_HANDSHAKE_MS = 5_000  # a connection that does not get through it by then is closed
_BIND_AGAIN_S = 0.02
_KEEPALIVE_IDLE_S = 60  # then the kernel looks whether the other machine is still there


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
        files = sorted(path for path in folder.iterdir() if path.suffix == ".key")
    except OSError as error:
        raise ConfigError(f"remote.keys_dir: cannot read {folder}: {error.strerror}") from error
    return {keys.as_hex(keys.read_public(path)): path.stem.partition("@")[0] for path in files}


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
    """Binds to a TCP address as well, with CURVE; what the socket is bound to already stays as it is.

    Raises ConfigError.
    """
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = pair
    socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # where nobody answers libzmq's question: nobody comes in
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_IDLE_S)
    socket.setsockopt(zmq.IPV6, "[" in address)
    try:
        socket.bind(address)
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
