"""Who may come in to an env host from other machines: those whose key lies in a folder.

The daemon has its own way to ask (`carlad.gateway.auth`), as it is asked under trio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from carlad import keys
from carlad.errors import ConfigError
from carlad.keys import KeyPair
from carlad.log import get_logger

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

log = get_logger("carlad.session")

Admitted = Callable[[], Mapping[str, str]]
"""Public keys in hexadecimal and their users, as they are now. Raises ConfigError."""


class Admission:
    """Answers libzmq's questions about keys for sockets of one context, in a thread. The caller closes it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        from zmq.auth.thread import ThreadAuthenticator

        self._authenticator: ThreadAuthenticator = ThreadAuthenticator(context)
        self._authenticator.start()

    def bind(
        self,
        socket: zmq.Socket[bytes],
        addresses: Iterable[str],
        pair: KeyPair,
        domain: str,
        admitted: Admitted,
    ) -> None:
        """Bind to each tcp://ADDRESS:PORT with CURVE, as `pair`. `admitted` is asked about each who comes, so
        a key that is added or taken away is so from the next connection on. Raises zmq.ZMQError."""
        self._authenticator.configure_curve_callback(domain, _Asked(admitted))
        for address in addresses:
            keys.bind(socket, address, pair, domain)

    def close(self) -> None:
        """Before the context is destroyed."""
        self._authenticator.stop()


class _Asked:
    """In the form that pyzmq wants."""

    def __init__(self, admitted: Admitted) -> None:
        self._admitted = admitted

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the public key, in Z85, is admitted to the domain."""
        try:
            user = self._admitted().get(z85.decode(key).hex())
        except ConfigError as error:
            log.warning("keys.unreadable", reason=error)
            return False
        if user is None:
            log.warning("stranger.refused", at=domain, key=z85.decode(key).hex())
        return user is not None
