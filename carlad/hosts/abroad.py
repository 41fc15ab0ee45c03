"""The TCP ports of env sessions, for other machines: who has which."""

from __future__ import annotations

from pathlib import Path

from carlad.config import PORTS_PER_SESSION, RemoteSection
from carlad.endpoints import parsed
from carlad.errors import ConfigError
from carlad.fleet.ports import can_bind
from carlad.hosts.launch import Abroad
from carlad.keys import as_hex, read_public
from carlad.log import get_logger

log = get_logger(__name__)


class SessionPorts:
    """Two for each session, from its beginning to its end, so that viewers find it again behind each loss."""

    def __init__(self, remote: RemoteSection) -> None:
        """Raises ConfigError where sessions are to be reached and there is no key to speak for them with."""
        self._taken: set[int] = set()
        self._firsts: range = range(0)
        if not remote.session_ports:
            return
        first, last = remote.session_ports
        self._firsts = range(first, last - PORTS_PER_SESSION + 2, PORTS_PER_SESSION)
        self._keys_dir = remote.keys_dir
        self._addresses = tuple(dict.fromkeys(parsed(address).host for address in remote.listen))
        try:
            self._server_key = as_hex(read_public(Path(remote.keys_dir) / "server.key"))
        except ConfigError as error:
            raise ConfigError(f"remote.session_ports: {error}") from error

    @property
    def are_any(self) -> bool:
        """Whether other machines may reach sessions at all."""
        return bool(self._firsts)

    def take(self, user: str | None) -> Abroad | None:
        """For a session that `user` steps from another machine, or that one here does (None). None where
        all ports are taken, or where sessions stay on this machine."""
        for port in self._firsts:
            if port not in self._taken and _are_free(port):
                return self._abroad(port, user)
        if self.are_any:
            log.warning("session_ports.taken", sessions=len(self._taken), ports=2 * len(self._firsts))
        return None

    def take_back(self, port: int | None, user: str | None) -> Abroad | None:
        """Those that a session had under an earlier daemon."""
        return self._abroad(port, user) if port is not None and self.are_any else None

    def give_back(self, abroad: Abroad | None) -> None:
        if abroad is not None:
            self._taken.discard(abroad.port)

    def _abroad(self, port: int, user: str | None) -> Abroad:
        self._taken.add(port)
        return Abroad(self._addresses, port, self._keys_dir, self._server_key, user)


def _are_free(port: int) -> bool:
    return all(can_bind("0.0.0.0", one) for one in range(port, port + PORTS_PER_SESSION))
