"""Where things are in a container: what systemd's units have, by the same variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from carlad.endpoints import default_endpoint


class Folders(msgspec.Struct, frozen=True):
    """`client`: what a client needs to come in, its own key and the daemon's public one."""

    runtime: Path
    state: Path
    configuration: Path

    @property
    def socket(self) -> Path:
        """The daemon's, where `carlactl` looks for it."""
        return Path(default_endpoint({"RUNTIME_DIRECTORY": str(self.runtime)}).removeprefix("ipc://"))

    @property
    def keys(self) -> Path:
        return self.configuration / "keys"

    @property
    def client(self) -> Path:
        return self.configuration / "client"


def folders(environ: Mapping[str, str]) -> Folders:
    return Folders(
        Path(environ.get("RUNTIME_DIRECTORY", "/run/carlad")),
        Path(environ.get("STATE_DIRECTORY", "/var/lib/carlad")),
        Path(environ.get("CONFIGURATION_DIRECTORY", "/etc/carlad")),
    )
