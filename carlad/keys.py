"""CURVE keys: files of them, and sockets that use them.

A pair is two certificates as pyzmq and CZMQ write them: NAME.key, which may be given away, and
NAME.key_secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85

from carlad.endpoints import remote
from carlad.errors import ConfigError

_READABLE_BY_OTHERS = 0o077
_HANDSHAKE_MS = 5_000  # a connection that does not get through it by then is closed
_KEEPALIVE_IDLE_S = 60  # then the kernel looks whether the other machine is still there


class KeyPair(NamedTuple):
    """In Z85, as ZeroMQ takes them."""

    public: bytes
    secret: bytes


def connect(socket: zmq.Socket[bytes], endpoint: str, environ: Mapping[str, str] = os.environ) -> None:
    """Connects to a daemon's socket; to one on another machine with this user's key.

    Raises ConfigError where that key cannot be used.
    """
    there = remote(endpoint)
    if there is None:
        socket.connect(endpoint)
        return
    socket.curve_publickey, socket.curve_secretkey = read_pair(client_key(environ))
    socket.curve_serverkey = z85.encode(bytes.fromhex(there.server_key))
    socket.setsockopt(zmq.IPV6, there.host.startswith("["))
    socket.connect(there.address)


def bind(socket: zmq.Socket[bytes], address: str, pair: KeyPair, domain: str) -> None:
    """Binds to a TCP address as well, with CURVE; what the socket is bound to already stays as it is.

    Who may come in says whoever answers libzmq's questions about `domain` (ZAP, RFC 27); where nobody does,
    nobody may. Raises zmq.ZMQError.
    """
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = pair
    socket.setsockopt_string(zmq.ZAP_DOMAIN, domain)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_IDLE_S)
    socket.setsockopt(zmq.IPV6, "[" in address)
    socket.bind(address)


def users_in(folder: Path) -> dict[str, str]:
    """Public keys in hexadecimal, and whose they are: of NAME.key the user is NAME, up to an `@` if it has
    one. Raises ConfigError."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".key")
    except OSError as error:
        raise ConfigError(f"cannot read the keys in {folder}: {error.strerror}") from error
    return {as_hex(read_public(path)): path.stem.partition("@")[0] for path in files}


def client_key(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's secret key is: CARLAD_KEY, else ~/.config/carlad/client.key_secret."""
    if environ.get("CARLAD_KEY"):
        return Path(environ["CARLAD_KEY"]).expanduser()
    folder = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "carlad" / "client.key_secret"


def write_pair(folder: Path, name: str) -> KeyPair:
    """A new pair in NAME.key and NAME.key_secret, the latter for its owner alone.

    Raises ConfigError where there is one already, or where it cannot be written.
    """
    from zmq.auth import create_certificates

    for path in (folder / f"{name}.key_secret", folder / f"{name}.key"):
        if path.exists():
            raise ConfigError(f"cannot make a key: there is one already in {path}; move it away")
    mask = os.umask(_READABLE_BY_OTHERS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        public, secret = create_certificates(folder, name)
        os.chmod(public, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot make a key in {folder}: {error.strerror}") from error
    finally:
        os.umask(mask)
    return read_pair(Path(secret))


def read_pair(path: Path) -> KeyPair:
    """Of a NAME.key_secret. Raises ConfigError where it is missing, is none, or others may read it."""
    public, secret = _read(path)
    if secret is None:
        raise ConfigError(f"cannot use key {path}: there is no secret key in it")
    if path.stat().st_mode & _READABLE_BY_OTHERS:
        raise ConfigError(f"cannot use key {path}: others may read it; run chmod 600 on it")
    return KeyPair(public, secret)


def read_public(path: Path) -> bytes:
    """Raises ConfigError."""
    return _read(path)[0]


def as_hex(key: bytes) -> str:
    """Of a key in Z85, which no shell could take unquoted."""
    return z85.decode(key).hex()


def _read(path: Path) -> tuple[bytes, bytes | None]:
    from zmq.auth import load_certificate

    try:
        public, secret = load_certificate(path)
        for key in (public, secret):
            if key is not None and (len(key) != 40 or len(z85.decode(key)) != 32):
                raise ValueError("not 40 characters of Z85")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no key {path}: make one with `carlactl keygen`") from error
    except OSError as error:
        why = error.strerror or "there is none: make one with `carlactl keygen`"
        raise ConfigError(f"cannot read key {path}: {why}") from error
    except (ValueError, KeyError, IndexError) as error:
        raise ConfigError(f"cannot use key {path}: {error}") from error
    return public, secret
