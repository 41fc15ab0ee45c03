"""The keys of a daemon and of its one client, where an operator has made none.

The daemon makes them at its first start, in two folders that volumes keep: its own, which nobody else sees,
and the client's. In a cluster both are Secrets. Their files belong to root there and are the group's to read,
which carlad refuses of a secret key: such ones are copied into the runtime folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from carlad.errors import ConfigError
from carlad.keys import as_hex, read_public, write_pair

CLIENT = "trainer"  # the user whom its leases belong to

_SERVER, _SECRET = "server", ".key_secret"


def of_daemon(own: Path, client: Path, runtime: Path) -> Path:
    """The folder of keys that the daemon reads; made where there are none. Raises ConfigError."""
    if not (own / f"{_SERVER}{_SECRET}").exists():
        _make(own, client)
    return _private(own, runtime / "keys")


def of_client(client: Path, runtime: Path) -> tuple[Path, str] | None:
    """The client's secret key, and the daemon's public one in hexadecimal; None where there are none.

    Raises ConfigError.
    """
    secret, public = client / f"{CLIENT}{_SECRET}", client / f"{_SERVER}.key"
    if not (secret.exists() and public.exists()):
        return None
    return _private(client, runtime / "client") / secret.name, as_hex(read_public(public))


def _make(own: Path, client: Path) -> None:
    """The daemon's last: where it is, the others are."""
    admitted = own / "clients"
    try:
        admitted.mkdir(parents=True, exist_ok=True)
        for stale in client.glob(f"{CLIENT}.key*"):
            stale.unlink()
        write_pair(client, CLIENT)
        shutil.copyfile(client / f"{CLIENT}.key", admitted / f"{CLIENT}.key")
        write_pair(own, _SERVER)
        shutil.copyfile(own / f"{_SERVER}.key", client / f"{_SERVER}.key")
    except OSError as error:
        raise ConfigError(f"cannot make keys in {own} and {client}: {error}") from error


def _private(given: Path, copy: Path) -> Path:
    """`given`, if the secret there is ours and nobody else may read it, else a copy of which that is so."""
    secrets = list(given.glob(f"*{_SECRET}"))
    if all(path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o077 for path in secrets):
        return given
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(given, copy, copy_function=shutil.copyfile)
        for secret in copy.glob(f"*{_SECRET}"):
            secret.chmod(0o600)
        copy.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"cannot read the keys in {given}: {error}") from error
    return copy
