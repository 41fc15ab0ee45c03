"""Which sessions there are: of a run, of a daemon, or one at an endpoint that is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from carlad.client import Client
from carlad.endpoints import client_endpoint, remote
from carlad.errors import CarladError
from viz.scene import Session, ViewerError

SESSIONS_FILE = "sessions.json"
_RUNS = Path("data")


class NoRunError(ViewerError):
    """There is no such run, or none yet."""


class _Sessions(msgspec.Struct, frozen=True):
    sessions: list[Session]


Listing = Callable[[], list[Session]]
"""Reads the sessions that there are now. Raises ViewerError, NoRunError where there is no list (yet)."""


def of_endpoint(endpoint: str, name: str | None) -> Listing:
    """The one session whose telemetry is there."""
    return lambda: [Session(name or endpoint, endpoint)]


def of_run(run: Path) -> Listing:
    """Those that a trainer's run directory lists."""
    return lambda: read_sessions(run)


def of_daemon(endpoint: str | None) -> Listing:
    """Those of the daemon there, by their ids."""
    return lambda: daemon_sessions(endpoint)


def find(what: str | None, endpoint: str | None = None) -> tuple[Listing, str | None]:
    """Where to look for what somebody calls `what`, and which of the sessions there is meant.

    In this order: a run's directory, a run's name, a session id of the daemon; and without a name the newest
    run under data/, else the daemon's sessions. Raises ViewerError.
    """
    if what is None:
        run = newest_run(_RUNS, None)
        return (of_run(run), None) if run is not None and endpoint is None else (of_daemon(endpoint), None)
    if (Path(what) / SESSIONS_FILE).exists():
        return of_run(Path(what)), None
    if endpoint is None and (named := newest_run(_RUNS, what)) is not None:
        return of_run(named), None
    sessions = daemon_sessions(endpoint)
    if all(session.session != what for session in sessions):
        there = ", ".join(session.session for session in sessions)
        raise NoRunError(
            f"cannot find {what!r}: no run under {_RUNS} has that name, and the daemon's sessions are {there}"
        )
    return of_daemon(endpoint), what


def newest_run(data: Path, name: str | None) -> Path | None:
    """The run directory under `data` that was written to last, of that name if one is given."""
    found = list(data.rglob(SESSIONS_FILE)) if data.is_dir() else []
    runs = [path for path in found if name is None or path.parent.name == name]
    return max(runs, key=lambda path: path.stat().st_mtime).parent if runs else None


def read_sessions(run: Path) -> list[Session]:
    """The sessions that a run directory lists. Raises ViewerError, NoRunError if there is no list."""
    path = run / SESSIONS_FILE
    try:
        sessions = msgspec.json.decode(path.read_bytes(), type=_Sessions).sessions
    except FileNotFoundError as error:
        raise NoRunError(f"cannot read the sessions of {run}: {error}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise ViewerError(f"cannot read the sessions of {run}: {error}") from error
    if not sessions:
        raise ViewerError(f"cannot watch {run}: {SESSIONS_FILE} lists no session")
    return sessions


def daemon_sessions(endpoint: str | None) -> list[Session]:
    """A daemon's env sessions, as this machine reaches them. Raises NoRunError where there is no daemon, or
    no session, and ViewerError where the daemon shows none of them to other machines."""
    try:
        with Client(client_endpoint(endpoint)) as client:
            statuses = client.status().sessions
            is_here = remote(client.endpoint) is None
    except CarladError as error:
        raise NoRunError(
            f"cannot find a run under {_RUNS} or a session: {error}; start a training, or name one"
        ) from error
    if not statuses:
        raise NoRunError(
            f"cannot find a run: none under {_RUNS}, and the daemon has no session; start a training"
        )
    if is_here:
        return [Session(status.session_id, status.telemetry) for status in statuses]
    shown = [Session(one.session_id, one.remote_telemetry) for one in statuses if one.remote_telemetry]
    if not shown:
        raise ViewerError(
            f"cannot watch the {len(statuses)} sessions of {endpoint}: it shows none to other machines; its "
            "operator names ports for that in remote.session_ports"
        )
    return shown
