"""Where a member of several gets its env host from, and gets it again: a daemon's session, or a child."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from carlad.errors import CarladError
from carlad.messages import Queued
from carlad.session.client import Session, open_session
from carlad.session.environment import Server
from carlad.session.folders import Folder
from carlad.session.remote import RemoteEnv
from carlad.session.steps import Steps

ATTACH_WAIT_S = 60.0  # start of the host, connection and map, on a loaded machine with a real server


class Hosted(NamedTuple):
    """An env host that serves; `cause` says why the one before it is gone, where somebody knows."""

    steps: Steps
    server: str
    telemetry: str
    cause: str | None = None


class Source(Protocol):
    """One member's. Only `cancel` may be called from another thread."""

    def obtain(self, cause: str | None) -> Hosted:
        """An env host, after the one before it was lost for `cause`; None: it is the first.

        May wait. Raises CarladError where there is none; it may be asked again.
        """

    def cancel(self) -> None:
        """Let go whoever waits in `obtain`, soon, for good."""

    def leave(self) -> None:
        """Begin to end the host, without waiting; `close` is still due."""

    def close(self) -> None:
        """Give everything back."""


class CancelledError(CarladError):
    """Nobody wants an env host any more."""


class Terms(NamedTuple):
    """Of a daemon's sessions, as in `carlad.session`."""

    env: str
    config: dict[str, Any]
    map: str | None = None
    ttl_s: float | None = None
    wait_s: float = 60.0
    endpoint: str | None = None


class DaemonSource:
    """Sessions of a daemon: the same one as long as it can be recovered, else another."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._session: Session | None = None
        self._cancelled = threading.Event()

    def obtain(self, cause: str | None) -> Hosted:
        if self._session is not None:
            try:
                self._session.recover(cause or "its client lost it", self._go_on)
            except CarladError:
                self.close()
                raise
        else:
            self._session = open_session(*self._terms, self._go_on)
        opened = self._session.opened
        return Hosted(self._session.steps, opened.server, opened.telemetry, opened.cause)

    def cancel(self) -> None:
        self._cancelled.set()

    def leave(self) -> None:
        """The daemon is asked to end it when it is closed."""

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _go_on(self, _standing: Queued | None = None) -> None:
        if self._cancelled.is_set():
            raise CancelledError("cancelled")


class Children:
    """Env hosts that are children of this process, one after the other."""

    def __init__(self, env: str, config: dict[str, Any], name: str, log: Path) -> None:
        """`env` is MODULE:CLASS; `log` takes the hosts' output."""
        self._env, self._config, self._name, self._log = env, config, name, log
        self._folder = Folder()
        self._host: RemoteEnv | None = None
        self._lock = threading.Lock()
        self._cancelled = False

    def host(self, server: Server) -> Hosted:
        """On that server, in place of the one before. Raises CarladError, ProtocolError or OSError."""
        why = self._end()
        with self._lock:
            if self._cancelled:
                raise CancelledError("cancelled")
            host = self._host = RemoteEnv(self._env, self._folder.path, self._name, self._log)
        try:
            host.attach(server, self._config, ATTACH_WAIT_S)
        except BaseException:
            self._end()
            raise
        return Hosted(host.steps, f"{server.host}:{server.rpc_port}", host.telemetry, why)

    def cancel(self) -> None:
        """From another thread: whoever waits in `host` is let go, for good."""
        with self._lock:
            self._cancelled = True
            if self._host is not None:
                self._host.kill()

    def leave(self) -> None:
        if self._host is not None:
            self._host.leave()

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
        self._folder.close()

    def _end(self) -> str | None:
        """How the host ended, where it did so itself; it is killed where not."""
        host = self._host
        if host is None:
            return None
        how = host.ended_by_itself()
        host.close(kill=True)
        with self._lock:
            self._host = None
        return how


class ChildSource:
    """Children on one server that no daemon knows."""

    def __init__(self, env: str, config: dict[str, Any], server: Server, name: str, log: Path) -> None:
        """As for `Children`."""
        self._children = Children(env, config, name, log)
        self._server = server

    def obtain(self, cause: str | None) -> Hosted:
        return self._children.host(self._server)

    def cancel(self) -> None:
        self._children.cancel()

    def leave(self) -> None:
        self._children.leave()

    def close(self) -> None:
        self._children.close()
