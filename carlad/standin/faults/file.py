"""Faults that come and go while the server runs: one a line in a file."""

from __future__ import annotations

import logging
from pathlib import Path

from carlad.standin.faults.kinds import Fault, FaultError, parse_fault

log = logging.getLogger("carlad.standin")

_BYTES_MAX = 1 << 16


class FaultFile:
    """The faults that a file names; it need not exist. `{port}` in its path is the port for calls."""

    def __init__(self, path: str, rpc_port: int) -> None:
        self._path = Path(path.replace("{port}", str(rpc_port)))
        self._seen: tuple[int, ...] = ()

    def news(self) -> tuple[Fault, ...] | None:
        """What the file says where it has changed since the last look, else None."""
        try:
            status = self._path.stat()
        except OSError:
            seen: tuple[int, ...] = ()
        else:
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return None
        self._seen = seen
        return self._read()

    def _read(self) -> tuple[Fault, ...]:
        try:
            with self._path.open("rb") as file:
                lines = file.read(_BYTES_MAX).decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            log.warning("cannot read the faults in %s: %s", self._path, error.strerror)
            return ()
        orders = filter(None, (line.partition("#")[0].strip() for line in lines))
        return tuple(fault for order in orders for fault in self._parsed(order))

    def _parsed(self, order: str) -> tuple[Fault, ...]:
        """The fault of one line; none where it makes no sense, which is told."""
        try:
            return (parse_fault(order),)
        except FaultError as error:
            log.warning("%s: %s", self._path, error)
            return ()
