"""Getting a server and an attached session on it, in the background and for as long as it takes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from carlad.errors import CarladError
from carlad.session.protocol import ProtocolError
from carlad.session.remote import RemoteEnv
from trainer.servers import Held, Servers

_ATTACH_WAIT_S = 60.0  # start of the host, connection and map, on a loaded machine with a real server
_RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class SessionConfig:
    """What every session is started with."""

    env: str  # MODULE:CLASS
    env_config: dict[str, Any]
    reply_within_s: float  # a step or reset that takes longer is a hang
    log_dir: Path  # takes the hosts' output


class Opened(NamedTuple):
    """A server that is ours and a session that is attached to it."""

    held: Held
    session: RemoteEnv

    def close(self, kill: bool = False) -> None:
        """End the host, gently unless `kill`, and give the server back."""
        self.session.close(kill)
        with contextlib.suppress(CarladError):  # a lease that was lost cannot be given back
            self.held.release()


class Opening:
    """A thread that closes `old` and opens another session for environment `index`.

    It calls `report` with each error and at last, unless cancelled, with what it opened. The directory takes
    the session's sockets, so that its telemetry stays where viewers found it.
    """

    def __init__(
        self,
        index: int,
        servers: Servers,
        config: SessionConfig,
        directory: Path,
        old: Opened | None,
        report: Callable[[int, Opened | Exception], None],
    ) -> None:
        self._index, self._servers, self._config, self._directory = index, servers, config, directory
        self._report = report
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._session: RemoteEnv | None = None
        self._thread = threading.Thread(target=self._run, args=(old,), name=f"opening-{index}")
        self._thread.start()

    def cancel(self) -> None:
        """Stop at the next chance, and at once where it waits for a host."""
        with self._lock:
            self._cancelled.set()
            if self._session is not None:
                self._session.kill()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self, old: Opened | None) -> None:
        if old is not None:
            old.close(kill=True)
        while not self._cancelled.is_set():
            outcome = self._attempt()
            self._report(self._index, outcome)
            if isinstance(outcome, Opened):
                return
            self._cancelled.wait(_RETRY_AFTER_S)

    def _attempt(self) -> Opened | Exception:
        try:
            return self._open()
        except (CarladError, ProtocolError, OSError) as error:
            return error

    def _open(self) -> Opened:
        with contextlib.ExitStack() as stack:
            held = self._servers.acquire(self._index)
            stack.callback(held.release)
            session = self._start_host()
            stack.callback(session.close, kill=True)
            session.attach(held.server, self._config.env_config, _ATTACH_WAIT_S)
            stack.pop_all()
            return Opened(held, session)

    def _start_host(self) -> RemoteEnv:
        name = f"env-{self._index}"
        session = RemoteEnv(self._config.env, self._directory, name, self._config.log_dir / f"{name}.log")
        with self._lock:
            self._session = session
            if self._cancelled.is_set():
                session.kill()
        return session
