"""Where daemons are: a Unix socket on this machine, or TCP on another.

/run/carlad/control.sock            a plain path is a Unix socket
ipc:///run/carlad/control.sock
tcp://KEY@gpu1.lab:7000             KEY: the daemon's public key in hexadecimal, so that nobody can
                                    stand in for it
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from carlad.errors import ConfigError

# Linux's socket paths end at 107 bytes; ".notices" is appended to the control socket's.
SOCKET_PATH_BYTES_MAX = 107 - len(".notices")

_HOST = r"\[[0-9a-fA-F:.]+\]|[^\s/@:]+"
_REMOTE = re.compile(rf"tcp://(?:(?P<key>[^@]*)@)?(?P<host>{_HOST}):(?P<port>\d{{1,5}})")
PORT_MAX = 65534  # the next one is the notices'
_HERE = "*"  # in what a daemon answers: the host by which it was reached


class Remote(NamedTuple):
    """An endpoint on another machine; `server_key` is empty where none was given."""

    host: str
    port: int
    server_key: str = ""

    @property
    def address(self) -> str:
        """For ZeroMQ."""
        return f"tcp://{self.host}:{self.port}"


def remote(endpoint: str) -> Remote | None:
    """None for what is no TCP endpoint."""
    parts = _REMOTE.fullmatch(endpoint)
    if parts is None or not 1 <= int(parts["port"]) <= PORT_MAX:
        return None
    return Remote(parts["host"], int(parts["port"]), parts["key"] or "")


def parsed(address: str) -> Remote:
    """Of a tcp://HOST:PORT that was checked."""
    found = remote(address)
    assert found is not None, address
    return found


def at_this_host(port: int, server_key: str) -> str:
    """An endpoint of the machine that says it; who hears it fills in the host: `reached`."""
    return f"tcp://{server_key}@{_HERE}:{port}"


def reached(given: str, daemon: str) -> str:
    """What a daemon calls an endpoint of its own machine, for who reached that daemon at `daemon`: by the
    same host. A client beside the daemon gets the machine's name, for somebody elsewhere."""
    there, by = remote(given), remote(daemon)
    if there is None or there.host != _HERE:
        return given
    host = by.host if by is not None else socket.gethostname() or "localhost"
    return f"tcp://{there.server_key}@{host}:{there.port}"


def are_elsewhere(endpoints: Sequence[str]) -> bool:
    """Whether one may be on another machine."""
    return any(remote(endpoint) is not None for endpoint in endpoints)


def endpoint_from(text: str) -> str:
    """A plain path is taken as a Unix socket."""
    return text if "://" in text else f"ipc://{Path(text).expanduser().absolute()}"


def client_endpoints(given: str | None, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Where a client finds its daemons: the argument, else CARLAD_ENDPOINT, else the default socket.

    Several are separated by commas. The default is the user's own daemon if its socket is there, else the
    system service's. Raises ConfigError where one is no endpoint.
    """
    chosen = given or environ.get("CARLAD_ENDPOINT")
    if not chosen:
        return (_default_of_clients(environ),)
    endpoints = tuple(endpoint_from(text.strip()) for text in chosen.split(",") if text.strip())
    if not endpoints:
        raise ConfigError(f"endpoint: there is none in {chosen!r}")
    for endpoint in endpoints:
        if endpoint.startswith("tcp:"):
            check_remote("endpoint", endpoint)
        else:
            check_local("endpoint", endpoint)
    return endpoints


def client_endpoint(given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The one daemon that is meant. Raises ConfigError where several are."""
    endpoints = client_endpoints(given, environ)
    if len(endpoints) > 1:
        raise ConfigError(f"endpoint: one daemon is meant here, not {len(endpoints)}: choose one")
    return endpoints[0]


def default_endpoint(environ: Mapping[str, str]) -> str:
    """`control.sock` in the service's runtime directory, the user's, or root's /run/carlad."""
    if "RUNTIME_DIRECTORY" in environ:  # set by systemd
        folder = Path(environ["RUNTIME_DIRECTORY"].split(":")[0])
    elif environ.get("XDG_RUNTIME_DIR"):
        folder = Path(environ["XDG_RUNTIME_DIR"]) / "carlad"
    elif os.geteuid() == 0:
        folder = Path("/run/carlad")
    else:
        folder = Path(tempfile.gettempdir()) / f"carlad-{os.geteuid()}"
    return f"ipc://{folder / 'control.sock'}"


def check_local(key: str, endpoint: str) -> None:
    """Raises ConfigError, about `key`, for what is no Unix socket."""
    path = endpoint.removeprefix("ipc://")
    if path == endpoint:
        raise ConfigError(f"{key}: {endpoint!r} is not ipc://PATH")
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"{key}: {path} has {len(os.fsencode(path))} bytes; a socket's path may have "
            f"{SOCKET_PATH_BYTES_MAX}: choose a shorter one"
        )


def check_remote(key: str, endpoint: str) -> None:
    """Raises ConfigError, about `key`, for what does not name a daemon on another machine and its key."""
    there = remote(endpoint)
    if there is None:
        raise ConfigError(f"{key}: {endpoint!r} is not tcp://KEY@HOST:PORT")
    if not re.fullmatch("[0-9a-f]{64}", there.server_key):
        raise ConfigError(
            f"{key}: TCP is spoken with keys only, so {endpoint} must name the daemon's public one, as in "
            f"tcp://KEY@{there.host}:{there.port}: 64 hexadecimal digits that `carlactl keygen --server` "
            "printed on its machine"
        )


def check_listen(key: str, address: str) -> None:
    """Raises ConfigError, about `key`, for what a daemon cannot listen on."""
    there = remote(address)
    if there is None or there.server_key:
        raise ConfigError(
            f"{key}: {address!r} is not tcp://ADDRESS:PORT with an address of this machine, such as "
            "0.0.0.0 for all, and a port up to 65534"
        )


def _default_of_clients(environ: Mapping[str, str]) -> str:
    own = default_endpoint(environ)
    system = "ipc:///run/carlad/control.sock"
    return system if not _may_be_there(own) and _may_be_there(system) else own


def _may_be_there(endpoint: str) -> bool:
    """Of a folder that we may not enter nobody knows: whoever connects is told so."""
    try:
        os.stat(endpoint.removeprefix("ipc://"))
    except PermissionError:
        return True
    except OSError:
        return False
    return True
