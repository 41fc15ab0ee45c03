"""Who may come in to an env host from other machines: those whose key lies in a folder, while it does.

The daemon has its own way to ask (`carlad.gateway.auth`), as it is asked under trio.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
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


class Admitted:
    """Public keys in hexadecimal, of the files NAME.key in some folders: as they are now, read again where a
    folder has changed."""

    def __init__(self, *folders: Path, user: str | None = None) -> None:
        """`user`: the keys of that user alone. A folder that does not exist holds none."""
        self._folders, self._user = folders, user
        self._stamps: tuple[int, ...] = ()
        self._users: dict[str, str] = {}

    def now(self) -> frozenset[str]:
        """Raises ConfigError where a file cannot be read."""
        stamps = tuple(folder.stat().st_mtime_ns if folder.is_dir() else 0 for folder in self._folders)
        if stamps != self._stamps:
            found: dict[str, str] = {}
            for folder in self._folders:
                found |= keys.users_in(folder) if folder.is_dir() else {}
            self._users, self._stamps = found, stamps
        return frozenset(key for key, user in self._users.items() if self._user in (None, user))


class Admission:
    """Answers libzmq's questions about keys for a socket that it binds, in a thread. The caller closes it."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        addresses: Sequence[str],
        pair: KeyPair,
        domain: str,
        admitted: Admitted,
    ) -> None:
        """Bind the context's socket to each tcp://ADDRESS:PORT with CURVE, as `pair`. Raises zmq.ZMQError."""
        from zmq.auth.thread import ThreadAuthenticator

        self._socket, self._admitted = socket, admitted
        self._let_in: set[str] = set()
        self._open, self._shut = list(addresses), list[str]()
        self._authenticator: ThreadAuthenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain, self)
        try:
            for address in addresses:
                keys.bind(socket, address, pair, domain)
        except zmq.ZMQError:
            self.close()
            raise

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the public key, in Z85, is admitted. pyzmq asks, in its thread."""
        name = z85.decode(key).hex()
        try:
            may = name in self._admitted.now()
        except (ConfigError, OSError) as error:
            log.warning("keys.unreadable", reason=error)
            return False
        if may:
            self._let_in.add(name)
        else:
            log.warning("stranger.refused", at=domain, key=name)
        return may

    def look(self) -> None:
        """From the socket's thread, now and then: if somebody's key was taken away, all connections are cut
        off, and who has one connects again."""
        for address in list(self._shut):
            with suppress(zmq.ZMQError):  # the kernel has the address back after a moment
                self._socket.bind(address)
                self._shut.remove(address)
        if self._let_in and (gone := self._let_in - self._still()):
            log.info("keys.expelled", keys=sorted(gone))
            self._let_in.clear()
            for address in self._open:
                self._socket.unbind(address)
            self._shut = list(self._open)

    def close(self) -> None:
        """Before the context is destroyed."""
        self._authenticator.stop()

    def _still(self) -> frozenset[str]:
        try:
            return self._admitted.now()
        except (ConfigError, OSError):  # said when somebody comes
            return frozenset(self._let_in)
