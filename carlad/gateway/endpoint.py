"""Binding the daemon's sockets, without taking over what is somebody else's."""

from __future__ import annotations

import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from carlad.errors import ConfigError

_GROUP = "carlad"
_LINGER_MS = 200  # for the last replies and notices to leave


@contextmanager
def listening(endpoint_socket: zmq.Socket[bytes], endpoint: str, group: str = "") -> Iterator[None]:
    """Binds to `ipc://PATH`; at the end the socket is closed and PATH gone.

    The folder is created where it is missing; its mode and its group, `group` or the one of `group_id`,
    decide who may connect. libzmq would remove
    whatever lies at PATH, so that is looked at before. Raises ConfigError where a daemon answers there
    already, where it is not a socket, or where the folder is not ours.
    """
    path = Path(endpoint.removeprefix("ipc://"))
    _bind(endpoint_socket, endpoint, path, group_id(group))
    try:
        yield
    finally:
        endpoint_socket.close(linger=_LINGER_MS)
        path.unlink(missing_ok=True)


def group_id(name: str) -> int | None:
    """Whose members may connect, other than the daemon's own user: `name`, or for a root daemon `carlad`
    where this machine has it; else nobody. Raises ConfigError where there is no such group."""
    try:
        if name or os.geteuid() == 0:
            return grp.getgrnam(name or _GROUP).gr_gid
    except KeyError:
        if name:
            raise ConfigError(f"daemon.group: there is no group {name}; groupadd {name} makes it") from None
    return None


def _bind(endpoint_socket: zmq.Socket[bytes], endpoint: str, path: Path, group: int | None) -> None:
    try:
        _make_folder(path.parent, group)
        _clear(path)
        endpoint_socket.bind(endpoint)
        path.chmod(0o660)
        if group is not None:
            os.chown(path, -1, group)
    except (OSError, zmq.ZMQError) as error:
        raise ConfigError(f"cannot listen on {endpoint}: {error}") from error


def answers(path: Path) -> bool:
    """Whether a process listens on that Unix socket. Raises OSError where it cannot be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _make_folder(folder: Path, group: int | None) -> None:
    """0750 for root's, and where a group may enter; 0700 for a user's own."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o700 if group is None and os.geteuid() != 0 else 0o750
    try:
        folder.mkdir(mode)
    except FileExistsError:
        owner = folder.stat().st_uid
        if owner not in (0, os.geteuid()):
            raise ConfigError(f"cannot listen in {folder}: it belongs to user {owner}") from None
    else:
        folder.chmod(mode)  # whatever the umask
        if group is not None:
            os.chown(folder, -1, group)


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"cannot listen on {path}: there is a file that is not a socket; move it away")
    if answers(path):
        raise ConfigError(f"cannot listen on {path}: a daemon answers there already")
    path.unlink()
